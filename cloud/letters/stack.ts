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
  const frames = stackOf(error)
    .slice(0, stackReadMax)
    .split('\n')
    .filter((line) => /^\s+at /.test(line))
    .slice(0, framesMax)
    .map((line) => line.trim())
  return frames.length === 0 ? undefined : frames.join('\n').slice(0, stackLengthMax)
}

/** What somebody else threw may have a stack that is no text, or one that throws. */
function stackOf(error: Error): string {
  try {
    return String(error.stack)
  } catch {
    return ''
  }
}
