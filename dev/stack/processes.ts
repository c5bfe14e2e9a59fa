import { spawn, type ChildProcess } from 'node:child_process'
import { closeSync, mkdirSync, openSync } from 'node:fs'
import { dirname } from 'node:path'
import { systemClock } from '../../src/clock.ts'
import { TidegateError } from '../../src/errors.ts'
import { readFrom, sizeOf, withLog } from './program-log.ts'
import { heapFlags } from '../../src/settings/heap.ts'

export interface ProgramOptions {
  /** As a person calls it: `edge`, `cloud-1`. */
  name: string
  /** Arguments to Node: the script first. */
  args: readonly string[]
  env?: NodeJS.ProcessEnv
  /** Takes everything it prints; grows over restarts. */
  logFile: string
  /** Answers 200 when the program is ready for work. */
  readyUrl: string
  /** How long it may take to be ready; default 30 s. */
  readyWithinMs?: number
  /** Called when it ends although nobody asked it to. */
  onCrash?: (error: TidegateError) => void
}

/** A Tidegate process that can be stopped, killed and started again. */
export interface Program {
  readonly name: string
  readonly pid: number | undefined
  /** Times it was started. */
  readonly starts: number
  /** Resolves when `/readyz` says so. No-op while it runs. @throws TidegateError `PROGRAM_START_FAILED` */
  start(signal?: AbortSignal): Promise<void>
  /** Sends the signal and says nothing of a crash. SIGKILL and SIGTERM: resolves when the process is gone. */
  kill(signal: NodeJS.Signals): Promise<void>
  /** SIGTERM, then SIGKILL after 15 s. Idempotent. */
  stop(): Promise<void>
  /** What it printed since the last call, by line. */
  newLines(): string[]
}

const stopWithinMs = 15_000
const readyWithinMsDefault = 30_000

/** Describes a program; start() starts it. Its output goes straight into its file, so that it outlives nobody's pipe. */
export function createProgram(options: ProgramOptions): Program {
  mkdirSync(dirname(options.logFile), { recursive: true })
  return new NodeProgram(options)
}

/** One life of a program. */
interface Life {
  readonly child: ChildProcess
  /** Where the log stood at its beginning. */
  readonly printedFrom: number
  /** It was ready for work once. */
  ready: boolean
  /** How it ended, if it has. */
  ended: string | undefined
  readonly gone: Promise<void>
}

class NodeProgram implements Program {
  readonly name: string
  readonly #options: ProgramOptions
  #life: Life | undefined
  /** Its end is what somebody wanted. */
  #asked = false
  #starts = 0
  #readUpTo: number

  constructor(options: ProgramOptions) {
    this.name = options.name
    this.#options = options
    this.#readUpTo = sizeOf(options.logFile)
  }

  get pid(): number | undefined {
    return this.#life?.child.pid
  }

  get starts(): number {
    return this.#starts
  }

  async start(signal?: AbortSignal): Promise<void> {
    if (this.#life) return
    const life = this.#launch()
    this.#life = life
    this.#asked = false
    this.#starts += 1
    try {
      await this.#untilReady(life, signal)
      life.ready = true
    } catch (error) {
      await this.kill('SIGKILL')
      throw error
    }
  }

  async kill(signal: NodeJS.Signals): Promise<void> {
    const life = this.#life
    if (!life) return
    const ends = signal === 'SIGKILL' || signal === 'SIGTERM' || signal === 'SIGINT'
    if (ends) this.#asked = true
    life.child.kill(signal)
    if (ends) await life.gone
  }

  async stop(): Promise<void> {
    const force = systemClock.after(stopWithinMs, () => void this.kill('SIGKILL'))
    await this.kill('SIGTERM')
    force.cancel()
  }

  newLines(): string[] {
    const { text, upTo } = readFrom(this.#options.logFile, this.#readUpTo)
    this.#readUpTo = upTo
    return text.split('\n').filter((line) => line !== '')
  }

  /** The end of a program that was ready, and that nobody asked to end, is a crash. */
  #launch(): Life {
    const { args, env = process.env, logFile, onCrash } = this.#options
    const printedFrom = sizeOf(logFile)
    const log = openSync(logFile, 'a')
    // The IPC channel is a leash: the program stops when it breaks, whatever became of us. A process group of its
    // own, because a terminal's Ctrl-C is for us alone: we stop things in order.
    const child = spawn(process.execPath, [...heapFlags, ...args], {
      detached: true,
      stdio: ['ignore', log, log, 'ipc'],
      env,
    })
    closeSync(log)
    const gone = new Promise<void>((resolve) => {
      child.once('exit', (code, killedBy) => {
        life.ended = killedBy ?? `exit code ${code}`
        if (this.#life === life) this.#life = undefined
        if (life.ready && !this.#asked) onCrash?.(crashed(this.name, life.ended, logFile, printedFrom))
        resolve()
      })
    })
    const life: Life = { child, printedFrom, ready: false, ended: undefined, gone }
    return life
  }

  async #untilReady(life: Life, signal?: AbortSignal): Promise<void> {
    const { readyUrl, logFile, readyWithinMs = readyWithinMsDefault } = this.#options
    const failed = (why: string): TidegateError => startFailed(this.name, why, logFile, life.printedFrom)
    const giveUpMs = systemClock.monotonicMs() + readyWithinMs
    while (!(await answersReady(readyUrl))) {
      if (life.ended !== undefined) throw failed(`it ended with ${life.ended}`)
      if (systemClock.monotonicMs() > giveUpMs) throw failed('it was not ready in time')
      await systemClock.sleep(50, signal)
    }
  }
}

async function answersReady(url: string): Promise<boolean> {
  try {
    const response = await fetch(url, { signal: AbortSignal.timeout(2000) })
    await response.arrayBuffer()
    return response.ok
  } catch {
    return false
  }
}

function startFailed(name: string, why: string, logFile: string, printedFrom: number): TidegateError {
  return new TidegateError('PROGRAM_START_FAILED', {
    message: withLog(`${name} did not start: ${why}`, logFile, printedFrom),
    retryable: false,
    hint: `the whole log is ${logFile}`,
  })
}

function crashed(name: string, how: string, logFile: string, printedFrom: number): TidegateError {
  return new TidegateError('PROGRAM_CRASHED', {
    message: withLog(`${name} ended by itself (${how})`, logFile, printedFrom),
    retryable: false,
    hint: `the whole log is ${logFile}`,
  })
}
