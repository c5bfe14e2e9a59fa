import type { Random } from '../../src/clock.ts'
import { codeOf, TidegateError } from '../../src/errors.ts'
import { attemptMax } from '../amqp/delivery.ts'
import type { ConfiguredConsumer } from './definition.ts'

/** Where an attempt that failed leads. */
export type Decision =
  /** On a rung for `delayMs`, then back into its own queue; what comes later goes first. */
  | { kind: 'retry'; delayMs: number }
  /** Its device is parked, and it is tried again after about `delayMs`; what comes later of the device waits (G6). */
  | { kind: 'park'; delayMs: number }
  /** Its device is parked until an operator says how it goes on. */
  | { kind: 'hold' }
  /** Cannot succeed by itself: to the dead letters, with its story. */
  | { kind: 'dead' }

/**
 * The infrastructure is down or full, not the event bad: an outage is waited out, and burns no attempt. Only the storage, the sidings
 * and the dead letters may throw these codes, and what a handler says of what it calls becomes one
 * (cloud/protection/unavailable.ts).
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
  'DEAD_LETTERS_FULL',
])

export function isOutage(error: unknown): error is TidegateError {
  return error instanceof TidegateError && outages.has(error.code)
}

/** What somebody else's code threw, as something that can be told of. */
export function thrown(error: unknown): unknown {
  return error ?? new Error(`${error} was thrown`)
}

/** What is to be known of an attempt that failed. */
export interface Attempt {
  /** Counted from 1. */
  attempt: number
  /**
   * Where it can wait: parked, if it is known whose event it is; what a replay has sent out of history on a rung, for nothing waits behind
   * it; a dead letter that comes back nowhere.
   */
  waits: 'parked' | 'on a rung' | 'nowhere'
  /**
   * The one before it, of its parked device, has succeeded. What both need is there: it has one step, for a device whose events often fail
   * would never catch up.
   */
  recovering: boolean
  /** For how long it has waited since it came here, ms. */
  waitedMs: number
}

/** By how it deals with failures. */
export type DecidingConsumer = Pick<
  ConfiguredConsumer,
  'ladderMs' | 'parks' | 'ladderEnd' | 'final' | 'schemaWaitMs'
>

/**
 * The only place that turns the error of an attempt into what follows (G5); an outage is no attempt. The delay after attempt n is
 * `ladderMs[n - 1]`, and behind the last are the dead letters. What we do not know may be temporary: an unknown error climbs the whole
 * ladder, also behind one that has climbed it in vain, so that an outage of what a device needs costs few letters; behind one that waited
 * and has succeeded it has the first step alone. A handler that hangs parks its device like every failure, so that it
 * holds up its lane for one timeout only. In a group that parks, a dead letter that fails once more is one again at once: nothing waits
 * for it.
 */
export function decide(
  error: unknown,
  { attempt, waits, recovering, waitedMs }: Attempt,
  { ladderMs, parks, ladderEnd, final, schemaWaitMs }: DecidingConsumer,
): Decision {
  if (isHopeless(error) || final.has(codeOf(error))) return { kind: 'dead' }
  const delayMs = awaitsSchema(error)
    ? waitedMs < schemaWaitMs && attempt < attemptMax
      ? ladderMs[Math.min(attempt, ladderMs.length) - 1]
      : undefined
    : (recovering ? ladderMs.slice(0, 1) : ladderMs)[attempt - 1]
  if (!parks || waits === 'on a rung')
    return delayMs === undefined ? { kind: 'dead' } : { kind: 'retry', delayMs }
  if (waits === 'nowhere') return { kind: 'dead' }
  if (delayMs !== undefined) return { kind: 'park', delayMs }
  return { kind: ladderEnd === 'hold' ? 'hold' : 'dead' }
}

/** Within 20 % of it: what failed together is not tried again together. */
export function jittered(delayMs: number, random: Random): number {
  return Math.round(delayMs * (0.8 + 0.4 * random()))
}

/**
 * What is to be read in a version that nobody here can read yet: nothing is wrong with the event. It waits, its device with it and no
 * other (G5, G6), at the last step of the ladder when it has climbed that, until somebody has brought the schema or the consumer, or its time
 * is over.
 */
export function awaitsSchema(error: unknown): boolean {
  return (
    error instanceof TidegateError &&
    error.retryable &&
    (error.code === 'SCHEMA_UNKNOWN' || error.code === 'SCHEMA_NEWER')
  )
}

/** For how long a delivery has waited: parked since it came; on rungs as long as those take, for it comes anew from each. */
export function waitedMsOf(
  { attempt, arrivedAtMs }: { attempt: number; arrivedAtMs: number },
  ladderMs: readonly number[],
  nowMs: number,
): number {
  const last = ladderMs.at(-1) ?? 0
  const climbedMs = ladderMs.slice(0, attempt - 1).reduce((sum, delayMs) => sum + delayMs, 0)
  return Math.max(nowMs - arrivedAtMs, climbedMs + Math.max(0, attempt - 1 - ladderMs.length) * last)
}

/** A handler that was cut off at its timeout. */
export function hasHung(error: unknown): boolean {
  return codeOf(error) === 'HANDLER_TIMEOUT'
}

/** No other attempt would end otherwise. By its shape, so that a consumer module need not import anything to say it. */
export function isHopeless(error: unknown): boolean {
  return error instanceof Error && 'retryable' in error && error.retryable === false
}
