import { messageOf, TidegateError } from '../../src/errors.ts'

/**
 * Thrown by a handler when what it calls is not there: the group waits and tries again, no attempt is counted, and nothing is set
 * aside (G5). Not for what is wrong with one event: that would hold up all others.
 */
export class Unavailable extends Error {
  override readonly name = 'Unavailable'
  /** By this it is known, so that a module need not import the class. */
  readonly unavailable = true
}

/** Never throws. */
function isUnavailable(error: unknown): error is Error {
  try {
    return error instanceof Error && 'unavailable' in error && error.unavailable === true
  } catch {
    return false
  }
}

/** As an outage that the group waits out (G5). */
export function outageOf(error: unknown): TidegateError | undefined {
  if (!isUnavailable(error)) return undefined
  return new TidegateError('CONSUMER_UNAVAILABLE', {
    message: `what the handler needs is not there: ${messageOf(error).slice(0, 500)}`,
    retryable: true,
    hint: 'see what it calls; the group goes on by itself when that is back',
    cause: error,
  })
}
