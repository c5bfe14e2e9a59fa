import { isatty } from 'node:tty'
import { destination, pino, stdTimeFunctions, type Logger } from 'pino'
import type { Clock } from './clock.ts'
import { codeOf } from './errors.ts'
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
  let silent = false
  const patient = (): boolean => exitingAtMs === undefined || clock.monotonicMs() - exitingAtMs < flushMsMax
  const inTerminal = isatty(1)
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
  tellDropped(written, log)
  // What is given up is nobody's fault any more, and a terminal that has gone is nobody's either.
  written.on('error', (error: Error) => {
    if (inTerminal && codeOf(error) === 'EIO') fallSilent()
    else if (exitingAtMs === undefined) throw error
  })
  // In front of pino's own, which writes the rest without an end.
  process.prependOnceListener('exit', () => {
    exitingAtMs ??= clock.monotonicMs()
    giveUp()
  })

  /** The last try, for as long as there is patience left. */
  function giveUp(): void {
    try {
      written.flushSync()
    } catch {
      // Nobody reads it, and nobody will.
    }
    fallSilent()
  }

  function fallSilent(): void {
    silent = true
    written.destroy()
    // Whoever still has something to say does so to nobody.
    Object.assign(written, { write: () => true, flushSync: () => undefined })
  }

  return {
    log,
    async end() {
      if (silent) return
      const closed = new Promise<void>((resolve) => written.once('close', () => resolve()))
      written.end()
      await atMost(closed, flushMsMax, clock)
      exitingAtMs = -Infinity
      giveUp()
    },
  }
}

/** Says in the log itself how much of it is missing. */
function tellDropped(written: ReturnType<typeof destination>, log: Logger): void {
  let dropped = 0
  written.on('drop', () => (dropped += 1))
  written.on('drain', () => {
    if (dropped === 0) return
    log.warn({ lines: dropped }, 'lines of this log are missing here: nobody had read it for a while')
    dropped = 0
  })
}

/** For tests and tools that have nothing to say. */
export const silentLog: Logger = pino({ level: 'silent' })
