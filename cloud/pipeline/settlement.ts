import type { Delivery } from '../amqp/delivery.ts'
import { replayOf } from '../replays/replayed.ts'
import type { Outcome, PipelineObserver } from './observer.ts'

/** What may be begun with a delivery, and how it ends. */
export interface Settlement {
  /** False: the broker has taken the delivery back, or the pipeline stops, and nothing more is begun with it (G6). */
  isLive(delivery: Delivery): boolean
  /** Acknowledges a delivery whose outcome is durable, never before (G5). */
  settle(delivery: Delivery, outcome: Outcome): void
}

export interface SettlementOptions {
  group: string
  observer: PipelineObserver
  stopping: AbortSignal
}

export function createSettlement({ group, observer, stopping }: SettlementOptions): Settlement {
  return {
    isLive: (delivery) => !delivery.lost && !stopping.aborted,
    settle(delivery, outcome) {
      delivery.ack()
      observer.settled(group, outcome)
      if (replayOf(delivery) !== undefined) observer.replayed(group, outcome)
    },
  }
}
