import { TidegateError } from '../../src/errors.ts'

const framesMax = 10
const stackLengthMax = 2_048
const stackReadMax = 65_536

/**
 * Where something was thrown, the innermost place first, one a line; undefined for what has no stack, and for what Tidegate threw
 * itself, whose code says more. Never throws.
 */
export function topFrames(error: unknown): string | undefined {
  if (!(error instanceof Error) || error instanceof TidegateError) return undefined
  const frames = placesOf(error)
    .slice(0, stackReadMax)
    .split('\n')
    .filter((line) => /^\s+at /.test(line))
    .slice(0, framesMax)
    .map((line) => line.trim())
  return frames.length === 0 ? undefined : frames.join('\n').slice(0, stackLengthMax)
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
