import type { AsyncMessage, Channel, Connection } from 'rabbitmq-client'
import { amqpMessageOf } from '../../src/amqp/faults-rabbit.ts'
import type { Clock } from '../../src/clock.ts'
import { codeOf } from '../../src/errors.ts'
import type { Logger } from '../../src/log.ts'

/** Who is to be given lists that come down with the uplink. */
export interface ListsFollower {
  /** Theirs alone; nobody declares it here. */
  queue: string
  /** Resolves when they are durable, or refused. Rejects: they are to come again. */
  take: (json: Uint8Array) => Promise<'taken' | 'known' | 'refused'>
}

export interface ListsSurroundings {
  clock: Clock
  log: Logger
  /** Aborted when the session is over. */
  signal: AbortSignal
}

/** Without a queue, or the right to read it, it is looked for again. */
const lookAgainAfterMs = 60_000
/** A disk that did not take them is asked again. */
const offerAgainAfterMs = 10_000
/** Whoever writes what is refused, or what is known, has the gateway look at no more of it than this. */
const nextAfterMs = 10_000
/** RabbitMQ ends a channel that does not acknowledge for 30 min (`consumer_timeout`). */
const heldForMsMax = 600_000
/** What is held, and the next. */
const prefetchCount = 2

/**
 * Reads the lists of one session, on a connection given to `receiveAsSent`, on a channel of their own, so that whatever becomes of
 * them, the events go on. Those that are in force are held, and not acknowledged before newer ones are: when the session ends
 * they are in the queue again, for a gateway that has lost its disk. Never rejects; that there are none to read is told once. Ends with
 * the session.
 */
export async function followLists(
  connection: Connection,
  { queue, take }: ListsFollower,
  { clock, log, signal }: ListsSurroundings,
): Promise<void> {
  let told = false
  while (!signal.aborted) {
    const reading = new AbortController()
    try {
      const channel = await connection.acquire({ emitErrorsFromChannel: true })
      const over = new Promise<void>((resolve) => {
        channel.on('error', () => resolve())
        channel.once('close', () => resolve())
        channel.once('basic.cancel', () => resolve())
        signal.addEventListener('abort', () => resolve(), { once: true, signal: reading.signal })
      })
      await channel.basicQos({ prefetchCount })
      const settling = new Settling(channel, take, { clock, log, signal })
      void over.then(() => settling.close())
      await channel.basicConsume({ queue }, (message: AsyncMessage) => settling.add(message))
      told = false
      log.info({ queue }, 'lists are read from the uplink')
      await over
      if (channel.active) await channel.close().catch(() => {})
    } catch (error) {
      if (signal.aborted) return
      if (!told)
        log.warn({ queue, ...about(error) }, 'there are no lists to read: what mqtt.tls names is in force')
      told = true
    } finally {
      reading.abort()
    }
    await clock.sleep(lookAgainAfterMs, signal).catch(() => {})
  }
}

/** Settles what is delivered on a channel, one after the other. */
class Settling {
  readonly #channel: Channel
  readonly #take: ListsFollower['take']
  readonly #surroundings: ListsSurroundings
  #last: Promise<void> = Promise.resolve()
  /** What is in force, as it was delivered. */
  #held: { deliveryTag: number; timer: { cancel(): void } } | undefined

  constructor(channel: Channel, take: ListsFollower['take'], surroundings: ListsSurroundings) {
    this.#channel = channel
    this.#take = take
    this.#surroundings = surroundings
  }

  add(message: AsyncMessage): void {
    // Of a channel that ends meanwhile nothing is left to be settled.
    this.#last = this.#last.then(() => this.#settle(message)).catch(() => {})
  }

  close(): void {
    this.#held?.timer.cancel()
    this.#held = undefined
  }

  async #settle({ body, deliveryTag, redelivered }: AsyncMessage): Promise<void> {
    const taken = await this.#offer(body as Uint8Array)
    if (taken === undefined) return this.#giveBack(deliveryTag)
    if (taken !== 'taken' && !redelivered) await this.#wait(nextAfterMs)
    if (taken === 'refused') this.#acknowledge(deliveryTag)
    else this.#hold(deliveryTag)
  }

  /** Undefined: they could not be kept. */
  async #offer(json: Uint8Array): Promise<Awaited<ReturnType<ListsFollower['take']>> | undefined> {
    const { log, signal } = this.#surroundings
    try {
      return await this.#take(json)
    } catch (error) {
      if (!signal.aborted)
        log.error({ ...about(error), retryInMs: offerAgainAfterMs }, 'lists that came down could not be kept')
      await this.#wait(offerAgainAfterMs)
      return undefined
    }
  }

  #hold(deliveryTag: number): void {
    if (!this.#channel.active) return
    if (this.#held) {
      this.#held.timer.cancel()
      this.#acknowledge(this.#held.deliveryTag)
    }
    const again = (): void => {
      this.#held = undefined
      this.#giveBack(deliveryTag)
    }
    this.#held = { deliveryTag, timer: this.#surroundings.clock.after(heldForMsMax, again) }
  }

  /** On a channel that has ended RabbitMQ has them already. */
  #acknowledge(deliveryTag: number): void {
    if (this.#channel.active) this.#channel.basicAck({ deliveryTag })
  }

  #giveBack(deliveryTag: number): void {
    if (this.#channel.active) this.#channel.basicNack({ deliveryTag, requeue: true })
  }

  async #wait(ms: number): Promise<void> {
    const { clock, signal } = this.#surroundings
    await clock.sleep(ms, signal).catch(() => {})
  }
}

function about(error: unknown): Record<string, unknown> {
  return { code: codeOf(error), detail: amqpMessageOf(error) }
}
