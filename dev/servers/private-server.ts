import { readFileSync, rmSync } from 'node:fs'
import { systemClock } from '../../src/clock.ts'
import { TidegateError } from '../../src/errors.ts'
import { tail } from './command.ts'
import type { LeashPlan } from './leash.ts'
import { type Leashed, startOnLeash } from './leashed.ts'
import type { Lock } from './lock.ts'
import { clearStrays } from './strays.ts'

/** A server of our own, in its own folder, on its own ports, which stay the same over stop and start. */
export interface PrivateServer {
  /** Of the server itself; undefined while it is stopped. */
  readonly pid: number | undefined
  /** Starts it again on the same data and ports; resolves when it takes connections. No-op while it runs. */
  start(signal?: AbortSignal): Promise<void>
  /** Stops it in good order, keeping its data. Idempotent. */
  stop(): Promise<void>
  /** SIGKILL, as a crash would; resolves when the process is gone. */
  kill(): Promise<void>
  /** Stops it and lets go of its folder. Idempotent. */
  close(): Promise<void>
}

export interface PrivateServerOptions {
  title: string
  dir: string
  lock: Lock
  plan: LeashPlan
  /** True once the server does everything it is there for. */
  isReady(consoleText: string): Promise<boolean>
  /** The server's pid, where the plan starts it through a script. */
  pidFile?: string
  /** Called when it ends although nobody asked it to. */
  onCrash?: ((cause: string) => void) | undefined
}

/** RabbitMQ needs ten seconds on a quiet machine, and was seen to need more than sixty on one with twenty processes a core. */
const readyWithinMs = 180_000

/** Starts a private server. @throws TidegateError `SERVER_START_FAILED` with what the server printed. */
export async function startPrivateServer(
  options: PrivateServerOptions,
  signal?: AbortSignal,
): Promise<PrivateServer> {
  const server = new LeashedServer(options)
  try {
    await server.start(signal)
  } catch (error) {
    options.lock.release()
    throw error
  }
  return server
}

class LeashedServer implements PrivateServer {
  readonly #options: PrivateServerOptions
  #running: Leashed | undefined
  /** Its end is what somebody wanted. */
  #asked = false
  #queue: Promise<void> = Promise.resolve()

  constructor(options: PrivateServerOptions) {
    this.#options = options
  }

  get pid(): number | undefined {
    const { pidFile } = this.#options
    if (!this.#running || pidFile === undefined) return this.#running?.pid
    return Number(textOf(pidFile)) || undefined
  }

  start(signal?: AbortSignal): Promise<void> {
    return this.#inTurn(() => this.#start(signal))
  }

  stop(): Promise<void> {
    return this.#inTurn(() => this.#end('stop'))
  }

  kill(): Promise<void> {
    return this.#inTurn(() => this.#end('kill'))
  }

  close(): Promise<void> {
    return this.#inTurn(async () => {
      await this.#end('stop')
      this.#options.lock.release()
    })
  }

  /** Starts and stops follow one another, whoever asks for them. */
  #inTurn(task: () => Promise<void>): Promise<void> {
    const turn = this.#queue.then(task)
    this.#queue = turn.catch(() => undefined)
    return turn
  }

  async #start(signal?: AbortSignal): Promise<void> {
    if (this.#running) return
    const { title, dir, plan, pidFile } = this.#options
    await clearStrays(dir, 2_000, signal)
    if (pidFile !== undefined) rmSync(pidFile, { force: true })
    this.#asked = false
    const started = await startOnLeash(plan).catch((error: unknown) => {
      throw startFailed(title, plan, error)
    })
    this.#running = started
    void this.#watch(started)
    try {
      await this.#untilReady(started, signal)
    } catch (error) {
      await this.#end('stop')
      throw error
    }
  }

  async #watch(started: Leashed): Promise<void> {
    const cause = await started.ended
    if (this.#running === started) this.#running = undefined
    if (!this.#asked) this.#options.onCrash?.(cause)
  }

  async #untilReady(started: Leashed, signal?: AbortSignal): Promise<void> {
    const { title, plan } = this.#options
    let ended: string | undefined
    void started.ended.then((cause) => (ended = cause))
    const giveUpMs = systemClock.monotonicMs() + readyWithinMs
    while (!(await this.#options.isReady(textOf(plan.consoleFile)))) {
      if (ended !== undefined) throw startFailed(title, plan, ended)
      if (systemClock.monotonicMs() > giveUpMs) throw startFailed(title, plan, 'it took too long')
      await systemClock.sleep(50, signal)
    }
  }

  async #end(how: 'stop' | 'kill'): Promise<void> {
    this.#asked = true
    const ending = this.#running
    if (!ending) return
    ending[how]()
    await ending.ended
    this.#running = undefined
    await clearStrays(this.#options.dir, 2_000)
  }
}

function textOf(file: string): string {
  try {
    return readFileSync(file, 'utf8')
  } catch {
    return ''
  }
}

function startFailed(title: string, plan: LeashPlan, cause: unknown): TidegateError {
  const printed = tail(textOf(plan.consoleFile))
  return new TidegateError('SERVER_START_FAILED', {
    message: `${title} did not start: ${cause instanceof Error ? cause.message : String(cause)}.${printed && `\n${printed}`}`,
    retryable: true,
    hint: `See ${plan.consoleFile}; removing that folder starts ${title} with empty data.`,
  })
}
