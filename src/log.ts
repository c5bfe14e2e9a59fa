import { destination, pino, stdTimeFunctions, type Logger } from 'pino'
import type { Clock } from './clock.ts'
import { atMost } from './lifecycle.ts'

export type { Logger }

export interface LogOptions {
  level: string
  /** `edge` or `cloud`. */
  side: string
  /** The gateway's or instance's name. */
  name: string
}

/** The log of a program, and its end. */
export interface ProgramLog {
  log: Logger
  /** Resolves when everything is written, or nobody has read it for two seconds. */
  end: () => Promise<void>
}

/** What nobody reads is kept up to this, and then dropped and counted (G7). */
const unreadBytesMax = 8 * 1024 ** 2
const flushMsMax = 2000

/**
 * Structured logs on stdout, one JSON object a line. Event payloads are never logged: log `id`, `source`,
 * `sequence`, `code`. A pipe that nobody reads holds up neither the program nor its stop.
 */
export function openLog(options: LogOptions, clock: Clock): ProgramLog {
  let exitingAtMs: number | undefined
  const patient = (): boolean => exitingAtMs === undefined || clock.monotonicMs() - exitingAtMs < flushMsMax
  process.once('exit', () => {
    exitingAtMs ??= clock.monotonicMs()
    // Before pino does the same without an end, and it does not where there is nothing left to write to.
    discard()
  })
  const written = destination({ fd: 1, sync: false, maxLength: unreadBytesMax, retryEAGAIN: patient })
  const log = pino(
    {
      level: options.level,
      base: { side: options.side, name: options.name, pid: process.pid },
      timestamp: stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
    },
    written,
  )
  let dropped = 0
  written.on('drop', () => (dropped += 1))
  written.on('drain', () => {
    if (dropped === 0) return
    log.warn({ lines: dropped }, 'lines of this log are missing here: nobody had read it for a while')
    dropped = 0
  })

  function discard(): void {
    if (ended) return
    ended = true
    try {
      written.flushSync()
    } catch {
      // Nobody reads it, and nobody will.
    }
    written.destroy()
  }
  let ended = false

  return {
    log,
    async end() {
      const flushed = new Promise<void>((resolve) => written.flush(() => resolve()))
      await atMost(flushed, flushMsMax, clock)
      exitingAtMs = -Infinity
      discard()
    },
  }
}

/** For tests and tools that have nothing to say. */
export const silentLog: Logger = pino({ level: 'silent' })
