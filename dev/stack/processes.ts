import { spawn, type ChildProcess } from 'node:child_process'
import { closeSync, mkdirSync, openSync, readSync, statSync } from 'node:fs'
import { dirname } from 'node:path'
import { systemClock } from '../../src/clock.ts'
import { TidegateError } from '../../src/errors.ts'

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
const readBytesMax = 256 * 1024

/** Describes a program; start() starts it. Its output goes straight into its file, so that it outlives nobody's pipe. */
export function createProgram(options: ProgramOptions): Program {
  const { name, logFile, onCrash } = options
  mkdirSync(dirname(logFile), { recursive: true })
  let child: ChildProcess | undefined
  let gone: Promise<void> = Promise.resolve()
  let asked = false
  let starts = 0
  let readUpTo = sizeOf(logFile)

  async function start(signal?: AbortSignal): Promise<void> {
    if (child) return
    const printedFrom = sizeOf(logFile)
    const log = openSync(logFile, 'a')
    // The IPC channel is a leash: the program stops when it breaks, whatever became of us. A process group of its
    // own, because a terminal's Ctrl-C is for us alone: we stop things in order.
    const started = spawn(process.execPath, options.args, {
      detached: true,
      stdio: ['ignore', log, log, 'ipc'],
      env: options.env ?? process.env,
    })
    closeSync(log)
    child = started
    asked = false
    starts += 1
    let ended: string | undefined
    let ready = false
    gone = new Promise((resolve) => {
      started.once('exit', (code, killedBy) => {
        ended = killedBy ?? `exit code ${code}`
        if (child === started) child = undefined
        if (ready && !asked) onCrash?.(crashed(name, ended, logFile, printedFrom))
        resolve()
      })
    })
    const giveUpMs = systemClock.monotonicMs() + (options.readyWithinMs ?? 30_000)
    try {
      while (!(await answersReady(options.readyUrl))) {
        if (ended !== undefined) throw startFailed(name, `it ended with ${ended}`, logFile, printedFrom)
        if (systemClock.monotonicMs() > giveUpMs)
          throw startFailed(name, 'it was not ready in time', logFile, printedFrom)
        await systemClock.sleep(50, signal)
      }
      ready = true
    } catch (error) {
      await kill('SIGKILL')
      throw error
    }
  }

  async function kill(signal: NodeJS.Signals): Promise<void> {
    if (!child) return
    const ends = signal === 'SIGKILL' || signal === 'SIGTERM' || signal === 'SIGINT'
    if (ends) asked = true
    child.kill(signal)
    if (ends) await gone
  }

  return {
    name,
    get pid() {
      return child?.pid
    },
    get starts() {
      return starts
    },
    start,
    kill,
    async stop() {
      const force = systemClock.after(stopWithinMs, () => void kill('SIGKILL'))
      await kill('SIGTERM')
      force.cancel()
    },
    newLines() {
      const { text, upTo } = readFrom(logFile, readUpTo)
      readUpTo = upTo
      return text.split('\n').filter((line) => line !== '')
    },
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

export interface LogLine {
  level: string
  text: string
}

/** A pino line as a person reads it; whatever else was printed, as it is. */
export function readableLine(line: string): LogLine {
  try {
    const entry = JSON.parse(line) as Record<string, unknown>
    const { level, msg, err } = entry
    const reason =
      typeof err === 'object' && err !== null && 'message' in err && err.message !== msg
        ? String(err.message)
        : undefined
    const details = ['reason', 'code', 'device']
      .map((field) => entry[field])
      .filter((value): value is string => typeof value === 'string')
    const words = [String(msg), reason, details.length > 0 ? `(${details.join(', ')})` : undefined]
    return { level: String(level), text: words.filter((word) => word !== undefined).join(' ') }
  } catch {
    return { level: 'info', text: line }
  }
}

/** Whole lines from a place on; at most a quarter of a megabyte at once, and the rest is passed over. */
function readFrom(file: string, from: number): { text: string; upTo: number } {
  const size = sizeOf(file)
  if (size <= from) return { text: '', upTo: Math.min(from, size) }
  const start = Math.max(from, size - readBytesMax)
  const buffer = Buffer.alloc(size - start)
  const handle = openSync(file, 'r')
  const bytes = readSync(handle, buffer, 0, buffer.length, start)
  closeSync(handle)
  const end = buffer.lastIndexOf(10, bytes - 1) + 1
  return { text: buffer.toString('utf8', 0, end), upTo: start + end }
}

function sizeOf(file: string): number {
  return statSync(file, { throwIfNoEntry: false })?.size ?? 0
}

const linesShown = 12

/** The message, and the last lines the program printed since `printedFrom`. */
function withLog(message: string, logFile: string, printedFrom: number): string {
  const { text } = readFrom(logFile, printedFrom)
  const printed = text
    .trimEnd()
    .split('\n')
    .slice(-linesShown)
    .map((line) => `    ${readableLine(line).text}`)
    .join('\n')
  return printed.trim() === '' ? message : `${message}; it printed last:\n${printed}`
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
