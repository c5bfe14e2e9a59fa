import { TidegateError } from '../../src/errors.ts'

/** Where an attempt that failed leads. */
export type Decision =
  /** Out of the way for `delayMs`, then back into its own queue. */
  | { kind: 'retry'; delayMs: number }
  /** Cannot succeed by itself: to the dead letters, with its story. */
  | { kind: 'dead' }

/**
 * The infrastructure is down, not the event bad: an outage is waited out, and burns no attempt. Only the storage and the
 * sidings may throw these codes, and what a handler says of what it calls becomes the last (cloud/protection/unavailable.ts).
 */
const outages: ReadonlySet<string> = new Set([
  'DATABASE_UNREACHABLE',
  // At the start these end the process. Later somebody is changing a password or rights, or restores the database.
  'DATABASE_REFUSED',
  'DATABASE_DENIED',
  'DATABASE_ALTERED',
  'DATABASE_TLS',
  'DATABASE_FAULT',
  'SIDING_UNAVAILABLE',
  'CONSUMER_UNAVAILABLE',
])

export function isOutage(error: unknown): error is TidegateError {
  return error instanceof TidegateError && outages.has(error.code)
}

/** What somebody else's code threw, as something that can be told of. */
export function thrown(error: unknown): unknown {
  return error ?? new Error(`${error} was thrown`)
}

/**
 * The only place that turns the error of an attempt into what follows (G5); an outage is no attempt. `attempt` counts
 * from 1; the rung after attempt n is `ladderMs[n - 1]`, and behind the last rung are the dead letters. What we do not
 * know may be temporary: an unknown error climbs the whole ladder.
 */
export function decide(error: unknown, attempt: number, ladderMs: readonly number[]): Decision {
  const delayMs = ladderMs[attempt - 1]
  return isHopeless(error) || delayMs === undefined ? { kind: 'dead' } : { kind: 'retry', delayMs }
}

/** No other attempt would end otherwise. By its shape, so that a consumer module need not import anything to say it. */
export function isHopeless(error: unknown): boolean {
  return error instanceof Error && 'retryable' in error && error.retryable === false
}
