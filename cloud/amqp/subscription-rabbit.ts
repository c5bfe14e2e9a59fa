import type { AsyncMessage, Channel } from 'rabbitmq-client'
import { backoffMs } from '../../src/backoff.ts'
import type { Clock, Random } from '../../src/clock.ts'
import { codeOf, isAbort, messageOf } from '../../src/errors.ts'
import type { Logger } from '../../src/log.ts'
import type { AmqpConnection } from './connection-rabbit.ts'
import type { Delivery } from './delivery.ts'
import { Lease } from './lease-rabbit.ts'
import { isMissing } from './topology-rabbit.ts'

/** One queue that is kept subscribed, on one channel after another. */
export interface Subscription {
  /** As long as it is subscribed: active, or in line. */
  readonly lease: Lease | undefined
  /** Its queue is gone, for good. */
  readonly over: boolean
  /** Nothing is delivered after this call. */
  stop(): void
  /** Gives what is unacknowledged back. Idempotent. */
  close(): Promise<void>
}

export interface SubscriptionOptions {
  connection: AmqpConnection
  queue: string
  partition: number
  /** The queue that its events come back to from a rung. */
  home: string
  /** Most unacknowledged deliveries (G7). */
  prefetch: number
  onDelivery: (delivery: Delivery) => void
  /** Takes what is no event; says whether it has. */
  intercept?: (message: AsyncMessage, lease: Lease) => boolean
  /** The queue is not there. Whether to go on trying; never throws. */
  onMissing: () => Promise<boolean>
  clock: Clock
  random: Random
  log: Logger
}

const resubscribe = { delayMsMin: 100, delayMsMax: 5_000 }

/** Raw channels rather than the client's own consumer: that one acknowledges one by one, and does not come back while
 * a handler hangs. */
export function subscribe(options: SubscriptionOptions): Subscription {
  const { connection, queue, partition, clock, log } = options
  const stopping = new AbortController()
  let current: Lease | undefined
  let over = false

  /** Keeps the queue subscribed until told to stop. */
  async function keep(): Promise<void> {
    for (let failures = 0; !stopping.signal.aborted && !over; failures++) {
      const startedMs = clock.monotonicMs()
      try {
        await lease()
      } catch (error) {
        await report(error, failures)
      }
      current = undefined
      if (clock.monotonicMs() - startedMs > resubscribe.delayMsMax) failures = 0
      if (failures > 0) await pause(failures)
    }
  }

  /** Resolves when the channel is gone. */
  async function lease(): Promise<void> {
    const channel = await connection.client.acquire({ emitErrorsFromChannel: true })
    const ended = closed(channel)
    const lease = new Lease(channel, options.home, partition)
    channel.on('error', (error: unknown) => log.warn({ queue, code: codeOf(error) }, messageOf(error)))
    // The queue was deleted, or its leader moved away.
    channel.once('basic.cancel', () => void lease.giveUp())
    await channel.basicQos({ prefetchCount: options.prefetch })
    await channel.basicConsume({ queue }, (message) => {
      if (stopping.signal.aborted || lease.lost || options.intercept?.(message, lease)) return
      options.onDelivery(lease.delivery(message, clock.now()))
    })
    if (stopping.signal.aborted) return lease.giveUp()
    current = lease
    await ended
  }

  async function report(error: unknown, failures: number): Promise<void> {
    if (stopping.signal.aborted) return
    if (isMissing(error)) over = !(await options.onMissing())
    if (failures === 0 && !over) log.warn({ queue, code: codeOf(error) }, 'cannot subscribe; trying again')
  }

  async function pause(failures: number): Promise<void> {
    try {
      await clock.sleep(backoffMs(failures, resubscribe, options.random), stopping.signal)
    } catch (error) {
      if (!isAbort(error)) throw error
    }
  }

  void keep()
  return {
    get lease() {
      return current
    },
    get over() {
      return over
    },
    stop: () => stopping.abort(),
    async close() {
      stopping.abort()
      // A loop that waits for the broker ends with the connection.
      await current?.giveUp()
    },
  }
}

function closed(channel: Channel): Promise<void> {
  return new Promise((resolve) => channel.once('close', resolve))
}
