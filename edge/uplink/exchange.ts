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
  publish(event: Queued): void
  /** Called with every outcome, many at a time. */
  onOutcomes(listener: (outcomes: Outcome[]) => void): void
  /** Resolves, once, when the session is over; nothing more will be confirmed. */
  readonly lost: Promise<SessionEnd>
  /** Whether RabbitMQ has told us to wait (a memory or disk alarm). */
  readonly blocked: boolean
  close(): Promise<void>
}

/** Why an event that was published is not proven. */
export const publishRefusals = ['UNROUTABLE', 'NACKED'] as const

export type Outcome =
  /** Confirmed and routed to at least one queue (G3). */
  | { kind: 'routed'; event: Queued }
  /** RabbitMQ took the event but no queue did, or refused it. */
  | { kind: 'refused'; event: Queued; code: (typeof publishRefusals)[number] }

export interface SessionEnd {
  code: string
  detail: string
}
