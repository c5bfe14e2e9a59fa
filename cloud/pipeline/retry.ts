import { codeOf, TidegateError } from '../../src/errors.ts'

/** What happens to a delivery after it was worked on. */
export type Decision =
  | { kind: 'ack' }
  /** Out of the way for `delayMs`, then back into its own queue. */
  | { kind: 'retry'; delayMs: number }
  /** Cannot succeed by itself: to the dead letters, with its story. */
  | { kind: 'dead'; code: string }
  /** The infrastructure is down, not the event bad: hold it and try again. Never burns an attempt. */
  | { kind: 'wait' }

/** Outages are waited out: only the storage and the sidings may throw these codes. */
const outages: ReadonlySet<string> = new Set([
  'DATABASE_UNREACHABLE',
  // At the start it ends the process. Later somebody is changing a password, or restores the database.
  'DATABASE_REFUSED',
  'SIDING_UNAVAILABLE',
])

export function isOutage(error: unknown): error is TidegateError {
  return error instanceof TidegateError && outages.has(error.code)
}

/** What somebody else's code threw. To `decide`, undefined means success. */
export function thrown(error: unknown): unknown {
  return error ?? new Error(`${error} was thrown`)
}

/**
 * The only place that turns an error into an outcome (G5). `attempt` counts from 1; the rung after attempt n is
 * `ladderMs[n - 1]`, and behind the last rung are the dead letters. What we do not know may be temporary: an
 * unknown error climbs the whole ladder.
 */
export function decide(error: unknown, attempt: number, ladderMs: readonly number[]): Decision {
  if (error === undefined) return { kind: 'ack' }
  if (isOutage(error)) return { kind: 'wait' }
  const delayMs = ladderMs[attempt - 1]
  if (isHopeless(error) || delayMs === undefined) return { kind: 'dead', code: codeOf(error) }
  return { kind: 'retry', delayMs }
}

/** By its shape, so that a consumer module need not import anything to say it. */
function isHopeless(error: unknown): boolean {
  return error instanceof Error && 'retryable' in error && error.retryable === false
}
