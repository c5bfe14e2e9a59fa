import { TidegateError } from '../../src/errors.ts'

/** As much of it is kept with a letter, and logged. */
const stackBytesMax = 8_192
const stackReadMax = 65_536
const frameLengthMax = 1_000

/**
 * Where something was thrown, the innermost place first, one a line, as many as fit into 8 KiB; undefined for what has no stack, and
 * for what Tidegate threw itself, whose code says more. Never throws.
 */
export function stackOf(error: unknown): string | undefined {
  if (!(error instanceof Error) || error instanceof TidegateError) return undefined
  const places = placesOf(error)
    .slice(0, stackReadMax)
    .split('\n')
    .filter((line) => /^\s+at /.test(line))
    .map((line) => line.trim().slice(0, frameLengthMax))
  let bytes = 0
  const fitting = places.filter((place) => (bytes += Buffer.byteLength(place) + 1) <= stackBytesMax)
  return fitting.length === 0 ? undefined : fitting.join('\n')
}

/**
 * Behind the message it begins with, of which lines may look like places. What somebody else threw may have a stack or a message
 * that is no text, or one that throws.
 */
function placesOf(error: Error): string {
  try {
    const stack = String(error.stack)
    const message: unknown = error.message
    if (typeof message !== 'string') return stack
    const at = stack.indexOf(message)
    return at < 0 ? stack : stack.slice(at + message.length)
  } catch {
    return ''
  }
}
