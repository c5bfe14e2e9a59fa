import { headers as names } from '../../src/contract/wire.ts'
import type { TidegateError } from '../../src/errors.ts'

/**
 * One event that comes out of a queue, by itself or with others as a batch, and where it may wait for its next attempt. Port;
 * RabbitMQ's adapters are deliveries-rabbit.ts and sidings-rabbit.ts.
 */
export interface Delivery {
  /** The event's JSON text as published, untouched. */
  readonly text: Buffer
  /** The partition queue it came from, or the one that has taken its place: where it comes back to from a rung. */
  readonly queue: string
  readonly partition: number
  readonly exchange: string
  readonly routingKey: string
  readonly headers: Headers
  /** The user of the broker that published it first; undefined: nobody vouches for one. */
  readonly publisher?: string | undefined
  readonly properties: MessageProperties
  /** It has AMQP properties besides `properties` and `headers`, which are in the block alone. */
  readonly hasMoreProperties?: boolean
  /** Its properties and headers as the broker sent them, which say more than can be read of them; empty if that is not known. */
  readonly propertyBlock: Buffer
  /** Why they cannot be read: it has none of them then. */
  readonly propertyFault?: string | undefined
  /** It is to be a batch, and why it cannot be taken apart: it is all of it then, as it came. */
  readonly batchFault?: TidegateError | undefined
  /** 1 on the first delivery; counted in our own header, never in the broker's. */
  readonly attempt: number
  /** The broker has delivered it before, to us or to another instance. */
  readonly redelivered: boolean
  /** Wall clock at arrival, ms since the Unix epoch. */
  readonly arrivedAtMs: number
  /**
   * The channel it came on is gone: the broker will deliver it again, perhaps to another instance. Work not yet
   * begun must not begin, or a device's events could be seen out of order (G6). So it is when an earlier delivery of it is settled.
   */
  readonly lost: boolean
  /**
   * Its outcome is durable. Acknowledgements may be sent many at a time, and that of a batch when the last of its events is
   * settled (G5); a no-op once lost.
   */
  ack(): void
}

export type Headers = Readonly<Record<string, unknown>>

/** AMQP properties that travel with a message wherever it goes. */
export interface MessageProperties {
  readonly messageId?: string
  readonly appId?: string
  readonly contentType?: string
  readonly contentEncoding?: string
  readonly type?: string
  /** Seconds since the Unix epoch, as AMQP has it. */
  readonly timestamp?: number
}

/**
 * Who published a message first, as the broker vouches: it takes a user ID from that user alone
 * (https://www.rabbitmq.com/docs/validated-user-id). What the cloud publishes again says so in a header, which is believed of the cloud's
 * own user alone (G9).
 */
export function publisherOf(
  { userId, headers }: { userId?: string | undefined; headers?: Headers | undefined },
  ownUser: string | undefined,
): string | undefined {
  const first = userId !== undefined && userId === ownUser ? headers?.[names.publisher] : undefined
  return (typeof first === 'string' ? first : userId) || undefined
}

/** The partition queues of one group. */
export interface Deliveries {
  /**
   * Begins to consume, and comes back by itself after every interruption, until closed. `onDelivery` is called in
   * the order of each partition.
   */
  start(onDelivery: (delivery: Delivery) => void): void
  /** Partitions that have delivered something to this instance since it last subscribed to them. */
  active(): number[]
  /**
   * Gives a partition up to whoever stands in line for it, and stands in line again. False: not now, for the broker takes
   * nothing, and a letter that waits for it would be there twice (G5).
   */
  stepBack(partition: number): boolean
  /** Gives everything that is unacknowledged back to the broker, and asks for nothing until `resume`. Idempotent. */
  pause(): void
  resume(): void
  /** Every partition that may be read already is subscribed: active, or in line. */
  readonly subscribed: boolean
  /** No `onDelivery` after this call. What is unacknowledged goes back to the broker on `close()`. */
  stop(): void
  close(): Promise<void>
}

/** A message on its way to a siding: out of the way of those behind it, and never out of sight. */
export interface Letter extends Enclosure {
  readonly body: Buffer
  /**
   * What goes along instead where the broker's frames are too small for it, or AMQP has no bytes for it: each barer than the one
   * before, and the last fits into any frame that AMQP allows.
   */
  readonly barer: readonly Enclosure[]
}

/** What goes with the body. */
export interface Enclosure {
  readonly properties: MessageProperties
  readonly headers: Headers
}

/** A rung: what is sent there comes back to `queue` after `delayMs`. */
export interface Siding {
  group: string
  queue: string
  delayMs: number
}

export interface Sidings {
  /**
   * Resolves when the broker has confirmed the letter *and* has routed it to a queue (G5).
   * @throws TidegateError `SIDING_UNAVAILABLE` when it has not: unreachable, full, or not declared.
   */
  send(siding: Siding, letter: Letter): Promise<void>
  close(): Promise<void>
}

/** More than the longest ladder has rungs. */
export const attemptMax = 1000

/** The attempt a message is on: ours to count, 1 if nobody counted yet, or somebody else did. */
export function readAttempt(headers: Headers): number {
  const attempt = headers[names.attempt]
  const counted = typeof attempt === 'number' && Number.isInteger(attempt)
  return counted && attempt >= 1 && attempt <= attemptMax ? attempt : 1
}
