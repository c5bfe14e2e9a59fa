import type { Queued } from '../outbox/outbox.ts'

/**
 * The uplink: an exchange in the cloud that confirms what it has routed to a queue. Port; RabbitMQ's adapter is
 * exchange-rabbit.ts.
 */
export interface Exchange {
  /**
   * Opens a session, waiting and retrying with jittered backoff until the exchange can be reached and is
   * there. Rejects only when `signal` is aborted.
   */
  connect(signal: AbortSignal): Promise<ExchangeSession>
  close(): Promise<void>
}

export interface ExchangeSession {
  /**
   * Publishes persistently and asks for proof. Exactly one outcome follows for each call, unless the session is
   * lost first.
   */
  publish(shipment: Shipment): void
  /** Called with every outcome, many at a time. */
  onOutcomes(listener: (outcomes: Outcome[]) => void): void
  /** Resolves, once, when the session is over; nothing more will be confirmed. */
  readonly lost: Promise<SessionEnd>
  /** Whether RabbitMQ has told us to wait (a memory or disk alarm). */
  readonly blocked: boolean
  close(): Promise<void>
}

/** What leaves as one message: one event as it is, or a batch of several of one partition and one type, in sequence. */
export type Shipment = readonly [Queued, ...Queued[]]

/** Why what was published is not proven. */
export const publishRefusals = ['UNROUTABLE', 'NACKED'] as const

/** Of a message, and so of every event in it. */
export type Outcome =
  /** Confirmed and routed to at least one queue (G3). */
  | { kind: 'routed'; shipment: Shipment }
  /** RabbitMQ took the message but no queue did, or refused it. */
  | { kind: 'refused'; shipment: Shipment; code: (typeof publishRefusals)[number] }

/** Ends that come of a message that RabbitMQ does not take, mostly because it is too large. It does not say which. */
export const publishFaults: ReadonlySet<string> = new Set(['PRECONDITION_FAILED', 'CONTENT_TOO_LARGE'])

export interface SessionEnd {
  code: string
  detail: string
}
