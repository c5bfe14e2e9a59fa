import type { AsyncMessage, Channel } from 'rabbitmq-client'
import { backoffMs } from '../../src/backoff.ts'
import type { Clock, Random } from '../../src/clock.ts'
import { amqpMessageOf } from '../../src/amqp/faults-rabbit.ts'
import { codeOf, isAbort } from '../../src/errors.ts'
import type { Logger } from '../../src/log.ts'
import type { AmqpConnection } from './connection-rabbit.ts'
import type { Delivery } from './delivery.ts'
import { bytesInHandMax } from './in-hand.ts'
import { KeptBatches } from './kept-batches.ts'
import { Lease } from './lease-rabbit.ts'
import { PrefetchPace } from './prefetch-pace.ts'
import { isMissing } from './topology-rabbit.ts'

/** One queue that is kept subscribed, on one channel after another. */
export interface Subscription {
  /** As long as it is subscribed: active, or in line. */
  readonly lease: Lease | undefined
  /** Its queue is gone, for good. */
  readonly over: boolean
  /** Gives what is unacknowledged back, unless it is to be kept, and asks for nothing until `resume`. */
  pause(keep?: boolean): void
  resume(): void
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
  /** To be paused from the beginning. */
  paused?: boolean | undefined
  /** Takes what is no event; says whether it has. */
  intercept?: (message: AsyncMessage, lease: Lease) => boolean
  /** The queue is not there. Whether to go on trying; never throws. */
  onMissing: () => Promise<boolean>
  /** Whether what is in our hands waits for the end of an outage; by default it never does. */
  isHeld?: (() => boolean) | undefined
  clock: Clock
  random: Random
  log: Logger
}

/** Of a lease: since its beginning, or since the last outage was over. */
interface Stretch {
  sinceMs: number
  /** What had been acknowledged before it. */
  settledBefore: number
  settledBytesBefore: number
}

const lookEveryMs = 10_000
const resubscribe = { delayMsMin: 100, delayMsMax: 5_000 }

/** Keeps a queue subscribed until it is closed. */
export function startSubscription(options: SubscriptionOptions): Subscription {
  return new KeptSubscription(options)
}

/** Raw channels rather than the client's own consumer: that one acknowledges one by one, and does not come back while
 * a handler hangs. */
class KeptSubscription implements Subscription {
  readonly #options: SubscriptionOptions
  readonly #stopping = new AbortController()
  readonly #pace: PrefetchPace
  readonly #batches = new KeptBatches()
  #lease: Lease | undefined
  #over = false
  #paused: boolean
  /** How often it was paused. */
  #pauses = 0
  /** Ends the wait of a pause. */
  #wake = (): void => {}

  constructor(options: SubscriptionOptions) {
    this.#options = options
    this.#pace = new PrefetchPace(options.prefetch)
    this.#paused = options.paused === true
    void this.#keep()
  }

  get lease(): Lease | undefined {
    return this.#lease
  }

  get over(): boolean {
    return this.#over
  }

  pause(keep = false): void {
    this.#paused = true
    if (keep && this.#lease) return
    this.#pauses++
    void this.#lease?.giveUp()
  }

  resume(): void {
    this.#paused = false
    this.#wake()
  }

  stop(): void {
    this.#stopping.abort()
    this.#wake()
  }

  async close(): Promise<void> {
    this.stop()
    // A loop that waits for the broker ends with the connection.
    await this.#lease?.giveUp()
  }

  async #keep(): Promise<void> {
    const { clock } = this.#options
    for (let failures = 0; !this.#stopping.signal.aborted && !this.#over; failures++) {
      await this.#resumed()
      const startedMs = clock.monotonicMs()
      try {
        if (!this.#stopping.signal.aborted) await this.#subscribe()
      } catch (error) {
        await this.#report(error, failures)
      }
      this.#lease = undefined
      if (clock.monotonicMs() - startedMs > resubscribe.delayMsMax) failures = 0
      if (failures > 0) await this.#pause(failures)
    }
  }

  async #resumed(): Promise<void> {
    while (this.#paused && !this.#stopping.signal.aborted)
      await new Promise<void>((resolve) => (this.#wake = resolve))
  }

  /** Resolves when the channel is gone. */
  async #subscribe(): Promise<void> {
    const { connection, queue, home, partition, onDelivery, clock, log } = this.#options
    const { signal } = this.#stopping
    const pausesBefore = this.#pauses
    const isOver = (): boolean =>
      signal.aborted || this.#pauses !== pausesBefore || (this.#paused && this.#lease !== lease)
    const channel = await connection.client.acquire({ emitErrorsFromChannel: true })
    const ended = closed(channel)
    const lease = new Lease(channel, home, partition, this.#batches, connection.user)
    channel.on('error', (error: unknown) => log.warn({ queue, code: codeOf(error) }, amqpMessageOf(error)))
    // The queue was deleted, or its leader moved away.
    channel.once('basic.cancel', () => void lease.giveUp())
    await channel.basicQos({ prefetchCount: this.#pace.prefetch })
    await channel.basicConsume({ queue }, (message) => {
      if (isOver() || lease.lost || this.#options.intercept?.(message, lease)) return
      for (const delivery of lease.deliveries(message, clock.now(), clock.monotonicMs())) onDelivery(delivery)
      if (lease.bytesInHand > bytesInHandMax) this.#takeFewer(lease)
    })
    // What came meanwhile was not taken.
    if (isOver()) return lease.giveUp()
    this.#lease = lease
    this.#watch(lease, { sinceMs: clock.monotonicMs(), settledBefore: 0, settledBytesBefore: 0 })
    await ended
    this.#batches.keep(lease.openBatches)
  }

  /**
   * Gives back what it could not get to, and asks for fewer; and for more again when it gets to more. Nothing is given back because
   * of an outage: whoever had it next would wait as well, and a letter that waits for the broker would be there twice (G5).
   */
  #watch(lease: Lease, stretch: Stretch): void {
    const { clock, isHeld } = this.#options
    clock.after(lookEveryMs, () => {
      if (lease.lost || this.#stopping.signal.aborted) return
      const nowMs = clock.monotonicMs()
      const { settledCount, settledBytes, oldestSinceMs = nowMs } = lease
      if (isHeld?.())
        return this.#watch(lease, {
          sinceMs: nowMs,
          settledBefore: settledCount,
          settledBytesBefore: settledBytes,
        })
      const { sinceMs, settledBefore, settledBytesBefore } = stretch
      const done = {
        settledCount: settledCount - settledBefore,
        settledBytes: settledBytes - settledBytesBefore,
        oldestSinceMs: Math.max(oldestSinceMs, sinceMs),
      }
      const before = this.#pace.prefetch
      if (this.#pace.changes(done, sinceMs, nowMs)) this.#resubscribe(lease, before)
      else this.#watch(lease, stretch)
    })
  }

  /** RabbitMQ counts messages, and a batch is one: what they take is counted here, as it comes in; but not given back in an outage. */
  #takeFewer(lease: Lease): void {
    const before = this.#pace.prefetch
    if (!lease.lost && !this.#options.isHeld?.() && this.#pace.tooLarge(lease.inHand))
      this.#resubscribe(lease, before)
  }

  /** What is in our hands goes back, and comes again a few at a time. */
  #resubscribe(lease: Lease, before: number): void {
    const { queue, log } = this.#options
    const { prefetch } = this.#pace
    log.info({ queue, before, prefetch }, 'taking another number of deliveries at a time')
    void lease.giveUp()
  }

  async #report(error: unknown, failures: number): Promise<void> {
    const { queue, onMissing, log } = this.#options
    if (this.#stopping.signal.aborted) return
    if (isMissing(error)) this.#over = !(await onMissing())
    if (failures === 0 && !this.#over)
      log.warn({ queue, code: codeOf(error) }, 'cannot subscribe; trying again')
  }

  async #pause(failures: number): Promise<void> {
    const { clock, random } = this.#options
    try {
      await clock.sleep(backoffMs(failures, resubscribe, random), this.#stopping.signal)
    } catch (error) {
      if (!isAbort(error)) throw error
    }
  }
}

function closed(channel: Channel): Promise<void> {
  return new Promise((resolve) => channel.once('close', resolve))
}
