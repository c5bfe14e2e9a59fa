import type { Event } from '../../src/contract/event.ts'
import type { Delivery } from '../amqp/delivery.ts'
import type { Decision } from './retry.ts'

/**
 * How a delivery ended; `recorded`: its fault is stored with it, by a consumer that records faults, and it has no letter; `parked`: it
 * waits in the database, behind an event of its device that failed, or as that event; `shed`: it was too old for its group.
 */
export const outcomes = [
  'processed',
  'repeat',
  'ignored',
  'shed',
  'recorded',
  'retried',
  'parked',
  'dead',
] as const

export type Outcome = (typeof outcomes)[number]

/** What follows from an attempt that failed. */
export type Consequence = Decision['kind'] | 'recorded'

/** What a watcher of the pipeline is told; metrics.ts is one. Must not throw. */
export interface PipelineObserver {
  settled(group: string, outcome: Outcome): void
  /** The same, of what a replay has sent to this group; each is settled as well. */
  replayed(group: string, outcome: Outcome): void
  /** A transaction with `size` deliveries ended. */
  transaction(group: string, size: number, tookMs: number, kind: 'committed' | 'failed'): void
  /** An event's effects are durable. */
  applied(group: string, event: Event, delivery: Delivery, nowMs: number): void
  /** An attempt failed and was put aside, or was recorded with its fault. */
  failed(group: string, kind: Consequence, code: string, attempt: number): void
  /** Work is held because of an outage. */
  held(group: string, code: string): void
}

export const noObserver: PipelineObserver = {
  settled() {},
  replayed() {},
  transaction() {},
  applied() {},
  failed() {},
  held() {},
}
