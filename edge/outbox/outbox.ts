import type { SchemasUsed } from '../../src/contract/schemas-used.ts'
import type { WrittenCandidate } from '../../src/contract/codec.ts'

/**
 * The outbox: where every event is made durable before its device is told so (G1), numbered and chained (G2),
 * and kept until the uplink has proof that it arrived (G3). Port; `openOutbox` has the implementation, DESIGN.md says how it works.
 *
 * Reading never deletes: `take()` only marks events as in flight, `release()` deletes them after proof, and
 * `rewind()` makes everything that is in flight takeable again, oldest first.
 */
export interface Outbox {
  /**
   * Makes an event durable. Resolves `accepted` only after fsync (G1), `duplicate` when the same
   * `(source, id)` is already durable within the dedup window, and `shed` only for QoS 0 at a bound. At a
   * bound with QoS 1 or 2 it waits: the acknowledgement is withheld and the device keeps the event (G7).
   * @throws TidegateError `OUTBOX_CLOSED` | `OUTBOX_BUSY` (both retryable: the device will send again), and
   *   AbortError when `signal` is aborted while waiting for room.
   */
  append(submission: Submission, signal?: AbortSignal): Promise<Admission>

  /**
   * As `append`, of submissions that arrived together, at the cost of one promise. `answered` is given the admission of each once,
   * in the order of the submissions: those that one write has answered in one call, as far as none before them is missing.
   * Resolves when it was given all.
   * @throws as `append`, of the first that gets no answer; whatever becomes of those behind it, `answered` is not called again
   */
  appendAll(
    submissions: readonly Submission[],
    answered: (admissions: readonly Admission[]) => void,
    signal?: AbortSignal,
  ): Promise<void>

  /**
   * Up to `eventsMax` events to send next and marks them in flight: high lane first, then live, then backlog
   * at its pace, each of which keeps its part (G7). Empty when there is nothing to send now.
   * @throws TidegateError `OUTBOX_CLOSED`
   */
  take(eventsMax: number): Promise<Queued[]>
  /** Resolves when `take()` may have something to give. */
  ready(signal: AbortSignal): Promise<void>
  /** The broker confirmed these and routed them to a queue (G3): they leave the outbox. */
  release(events: readonly Queued[]): Promise<void>
  /** The uplink was lost: what is in flight and unconfirmed will be taken again. */
  rewind(): void
  /** The uplink came (back) up: what is queued now becomes backlog, what comes next is live. */
  resumed(): void

  /**
   * Events that are submitted after this call are judged by these schemas: before the first of them that takes a place, a `dev.tidegate.schemas`
   * event takes one that says so, unless the newest in the ledger says the same. So no event in front of it was judged by them. Resolves when
   * that is durable.
   * @throws TidegateError `OUTBOX_CLOSED`
   */
  judgedBy(schemas: SchemasUsed): Promise<void>

  stats(): OutboxStats
  /** Idempotent; waits for what was submitted. */
  close(): Promise<void>
}

/** What goes first stands first. */
export const bothLanes = ['high', 'normal'] as const

export type Lane = (typeof bothLanes)[number]

export interface Submission {
  candidate: WrittenCandidate
  lane: Lane
  qos: 0 | 1 | 2
  /** Time to live from now, ms; absent: for ever. 0: takes its place in the ledger, and expires in the same write. */
  ttlMs?: number
}

export type Admission =
  { kind: 'accepted'; sequence: number } | { kind: 'duplicate' } | { kind: 'shed'; reason: QuotaReason }

/** Which bound was met. */
export const quotaReasons = ['events', 'bytes', 'device-share', 'disk-free', 'store-failed'] as const

export type QuotaReason = (typeof quotaReasons)[number]

/** An event on its way out. */
export interface Queued {
  /** Place in this outbox; grows by one for each event, across epochs. */
  position: number
  /** Place in the ledger, within its epoch. */
  sequence: number
  lane: Lane
  deviceId: string
  type: string
  id: string
  /** The event's JSON text, as it goes over the wire. */
  text: string
  /** Wall clock at admission, ms since the Unix epoch. */
  recordedAtMs: number
}

export interface OutboxStats {
  epoch: string
  lastSequence: number
  depth: Record<Lane, number>
  /** Bytes of event text queued, by lane. */
  bytes: Record<Lane, number>
  /** Of the normal lane: events behind the last resumption that still drain. */
  backlog: number
  inFlight: number
  /** All that is queued is backlog, and none of it may go before its pace lets it. */
  pausing: boolean
  /** Age of the oldest queued event by the gateway's steady clock, ms; 0 for an empty lane. */
  oldestAgeMs: Record<Lane, number>
  /** Submissions not answered yet: held at a bound, or in line for the disk. */
  waiting: number
  /** For how long a submission has waited, or the store has failed; ms, the longer of the two. */
  stuckMs: number
  /** Bound that holds submissions back now. */
  refusing: QuotaReason | undefined
  devices: number
  rememberedIds: number
  /** Events that no checkpoint signs yet, and for how long there have been any, ms; undefined: there is no key to sign with. */
  unsigned: { events: number; ageMs: number } | undefined
}
