import type { Delivery } from '../amqp/delivery.ts'

/** A partition queue with the settings of a former generation. */
export interface FormerQueue {
  readonly queue: string
  readonly partition: number
}

/** Subscriptions to queues of former generations. Port; the adapter is former-rabbit.ts. */
export interface FormerLine {
  /** From now on its deliveries come, or it is in line for them. Idempotent. */
  subscribe(former: FormerQueue, onDelivery: (delivery: Delivery) => void): void
  /** Gives it up to whoever is next. */
  leave(former: FormerQueue): Promise<void>
  /** It is gone from the broker. */
  isOver(former: FormerQueue): boolean
  /**
   * Resolves when everything that was in the queue at the time of the call is settled, and nobody else has any of it in
   * hand; also when the queue is gone. Where a queue has several consumers, as those of groups without order: when it is
   * empty, and none of it is unsettled here.
   * @throws TidegateError `QUEUE_NOT_ALONE` when another consumer has it.
   */
  emptied(former: FormerQueue, signal: AbortSignal): Promise<void>
  /** Gives everything back, and asks for nothing until `resume`. */
  pause(): void
  resume(): void
  stop(): void
  close(): Promise<void>
}

/** What instances tell each other about it. Port; the adapter is former-postgres.ts. */
export interface UpgradeRegister {
  /** Which of these were noted as drained. */
  drained(queues: readonly string[]): Promise<ReadonlySet<string>>
  note(queue: string): Promise<void>
  /** Instances of this group that are there and read queues of a former generation only. */
  olderInstances(): Promise<string[]>
  /** Undefined while another instance has it. */
  lock(): Promise<UpgradeLock | undefined>
}

export interface UpgradeLock {
  /** Aborted when another instance may have it. */
  readonly lost: AbortSignal
  release(): Promise<void>
}

export interface FormerQueues {
  /** Partitions whose queue of today is not bound yet. */
  unbound(): ReadonlySet<number>
  /** Resolves when the partition's queue of today may be read; undefined: at once. */
  whenReady(partition: number): Promise<void> | undefined
  /** Queues that are still there. */
  readonly counts: { draining: number; drained: number }
  /** Draining waits until `resume`, with everything given back. */
  pause(): void
  resume(): void
  stop(): void
  close(): Promise<void>
}
