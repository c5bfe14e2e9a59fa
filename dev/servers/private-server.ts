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

const readyWithinMs = 60_000

/** Starts a private server. @throws TidegateError `SERVER_START_FAILED` with what the server printed. */
export async function startPrivateServer(
  options: PrivateServerOptions,
  signal?: AbortSignal,
): Promise<PrivateServer> {
  const { title, dir, lock, plan, pidFile } = options
  let running: Leashed | undefined
  let asked = false
  let queue: Promise<void> = Promise.resolve()

  /** Starts and stops follow one another, whoever asks for them. */
  function inTurn(task: () => Promise<void>): Promise<void> {
    const turn = queue.then(task)
    queue = turn.catch(() => undefined)
    return turn
  }

  async function start(signal?: AbortSignal): Promise<void> {
    if (running) return
    await clearStrays(dir, 2_000, signal)
    if (pidFile !== undefined) rmSync(pidFile, { force: true })
    asked = false
    const started = await startOnLeash(plan).catch((error: unknown) => {
      throw startFailed(title, plan, error)
    })
    running = started
    void watch(started)
    try {
      await untilReady(started, signal)
    } catch (error) {
      await end('stop')
      throw error
    }
  }

  async function watch(started: Leashed): Promise<void> {
    const cause = await started.ended
    if (running === started) running = undefined
    if (!asked) options.onCrash?.(cause)
  }

  async function untilReady(started: Leashed, signal?: AbortSignal): Promise<void> {
    let ended: string | undefined
    void started.ended.then((cause) => (ended = cause))
    const giveUpMs = systemClock.monotonicMs() + readyWithinMs
    while (!(await options.isReady(textOf(plan.consoleFile)))) {
      if (ended !== undefined) throw startFailed(title, plan, ended)
      if (systemClock.monotonicMs() > giveUpMs) throw startFailed(title, plan, 'it took too long')
      await systemClock.sleep(50, signal)
    }
  }

  async function end(how: 'stop' | 'kill'): Promise<void> {
    asked = true
    const ending = running
    if (!ending) return
    ending[how]()
    await ending.ended
    running = undefined
    await clearStrays(dir, 2_000)
  }

  const server: PrivateServer = {
    get pid() {
      if (!running || pidFile === undefined) return running?.pid
      return Number(textOf(pidFile)) || undefined
    },
    start: (signal) => inTurn(() => start(signal)),
    stop: () => inTurn(() => end('stop')),
    kill: () => inTurn(() => end('kill')),
    close: () =>
      inTurn(async () => {
        await end('stop')
        lock.release()
      }),
  }
  try {
    await server.start(signal)
  } catch (error) {
    lock.release()
    throw error
  }
  return server
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
