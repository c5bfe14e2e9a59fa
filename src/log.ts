import { pino, type Logger } from 'pino'

export type { Logger }

export interface LogOptions {
  level: string
  /** `edge` or `cloud`. */
  side: string
  /** The gateway's or instance's name. */
  name: string
}

/**
 * Structured logs on stdout, one JSON object a line. Event payloads are never logged: log `id`, `source`,
 * `sequence`, `code`.
 */
export function createLog(options: LogOptions): Logger {
  return pino({
    level: options.level,
    base: { side: options.side, name: options.name, pid: process.pid },
    timestamp: pino.stdTimeFunctions.isoTime,
    formatters: { level: (label) => ({ level: label }) },
  })
}

/** For tests and tools that have nothing to say. */
export const silentLog: Logger = pino({ level: 'silent' })
