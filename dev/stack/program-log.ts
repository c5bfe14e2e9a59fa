import { closeSync, openSync, readSync, statSync } from 'node:fs'

export interface LogLine {
  level: string
  text: string
  /** By the program's wall clock; undefined where it does not say. */
  atMs?: number
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
    const atMs = Date.parse(String(entry['time']))
    return {
      level: String(level),
      text: words.filter((word) => word !== undefined).join(' '),
      ...(!Number.isNaN(atMs) && { atMs }),
    }
  } catch {
    return { level: 'info', text: line }
  }
}

const readBytesMax = 256 * 1024

/** Whole lines from a place on; at most a quarter of a megabyte at once, and the rest is passed over. */
export function readFrom(file: string, from: number): { text: string; upTo: number } {
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

export function sizeOf(file: string): number {
  return statSync(file, { throwIfNoEntry: false })?.size ?? 0
}

const linesShown = 12

/** The message, and the last lines the program printed since `printedFrom`. */
export function withLog(message: string, logFile: string, printedFrom: number): string {
  const { text } = readFrom(logFile, printedFrom)
  const printed = text
    .trimEnd()
    .split('\n')
    .slice(-linesShown)
    .map((line) => `    ${readableLine(line).text}`)
    .join('\n')
  return printed.trim() === '' ? message : `${message}; it printed last:\n${printed}`
}
