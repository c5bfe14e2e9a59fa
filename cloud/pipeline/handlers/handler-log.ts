/** The cloud's log, of which each line says its group: never payloads, but `id`, `source`, `code`. */
export interface HandlerLog {
  debug: LogLine
  info: LogLine
  warn: LogLine
  error: LogLine
}

export interface LogLine {
  (message: string): void
  (fields: object, message?: string): void
}
