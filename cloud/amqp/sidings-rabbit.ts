import type { ConfirmEnvelope } from '../../src/amqp/confirm-channel-rabbit.ts'
import type { Clock } from '../../src/clock.ts'
import { codeOf, TidegateError } from '../../src/errors.ts'
import { atMost } from '../../src/lifecycle.ts'
import { rungName } from '../../src/contract/wire.ts'
import { amqpMessageOf } from '../../src/amqp/faults-rabbit.ts'
import type { AmqpConnection } from './connection-rabbit.ts'
import type { Enclosure, Letter, Siding, Sidings } from './delivery.ts'
import { keepPublisher, type KeptPublisher, openPublisher } from './kept-publisher-rabbit.ts'
import { type Publisher, Refused, Unrouted, Unsendable } from './publisher-rabbit.ts'
import { declareTopology } from './topology-rabbit.ts'
import { sidingTopology } from './topology.ts'

/** The client waits for a confirm for ever. After this its sender is told that there is none, and the wait goes on. */
const confirmTimeoutMs = 15_000
/** After this the broker is believed to have forgotten a letter, and it is sent again on another channel. */
const forgottenAfterMs = 300_000
const lookEveryMs = 1_000
const closeTimeoutMs = 3_000

/**
 * Rungs, with publisher confirms and proof of routing. A siding that is missing is declared again,
 * for the letter's next try.
 *
 * An answer that is late is no refusal: what has been handed to the socket arrives, however late, so a letter that is sent
 * again while it has no answer would be there twice. It is sent again when its channel is over, and not before.
 *
 * A broker that closes the channel because of one letter closes it for all of them, and does not say for which. Each is then
 * sent on a channel of its own, and one that is refused there goes on a channel of its own from then on: it harms no other again.
 */
export function rabbitSidings(connection: AmqpConnection, clock: Clock): Sidings {
  return new RabbitSidings(connection, clock)
}

/** A letter that was published, until its sender has heard what became of it. */
interface Sent {
  proof: Promise<void>
  /** As long as nothing of it has gone out. */
  withdraw: () => boolean
  settled: boolean
  publisher: Publisher
  /** Nobody waits for its channel: one of its own is closed. */
  leave: () => void
  /** Since when the broker could have answered. */
  sinceMs: number
}

class RabbitSidings implements Sidings {
  readonly #connection: AmqpConnection
  readonly #clock: Clock
  readonly #declaring = new Map<string, Promise<void>>()
  /** Of letters nobody sends any more nothing is kept. */
  readonly #sent = new WeakMap<Letter, Sent>()
  /** Because of which, and of no other, the broker has closed a channel. */
  readonly #refused = new WeakSet<Letter>()
  readonly #publisher: KeptPublisher
  /** Letters that are sent alone, one after the other. */
  #alone: Promise<unknown> = Promise.resolve()
  #closing: Promise<void> | undefined

  constructor(connection: AmqpConnection, clock: Clock) {
    this.#connection = connection
    this.#clock = clock
    this.#publisher = keepPublisher(connection)
  }

  async send(siding: Siding, letter: Letter): Promise<void> {
    let fault: unknown
    for (const enclosure of [letter, ...letter.barer]) {
      const envelope = address(siding, enclosure)
      try {
        return await this.#confirmed(letter, envelope)
      } catch (error) {
        fault = error
      }
      if (!isOfTheLetter(fault)) break
    }
    if (fault instanceof Unrouted || codeOf(fault) === 'NOT_FOUND') await this.#declareAgain(siding)
    throw unavailable(siding, fault)
  }

  close(): Promise<void> {
    return (this.#closing ??= atMost(this.#publisher.close(), closeTimeoutMs, this.#clock))
  }

  async #confirmed(letter: Letter, envelope: ConfirmEnvelope): Promise<void> {
    const sent = this.#sent.get(letter)
    if (!sent && this.#refused.has(letter)) return this.#sendAlone(letter, envelope)
    try {
      await this.#answered(
        letter,
        sent ?? this.#publish(letter, envelope, await this.#publisher.now(), () => {}),
      )
    } catch (error) {
      if (!isOfTheLetter(error) || error instanceof Unsendable) throw error
      await this.#sendAlone(letter, envelope)
    }
  }

  #sendAlone(letter: Letter, envelope: ConfirmEnvelope): Promise<void> {
    const send = async (): Promise<void> => {
      const publisher = await openPublisher(this.#connection)
      const leave = (): void => void publisher.close().catch(() => {})
      const sent = this.#publish(letter, envelope, publisher, leave)
      try {
        await this.#answered(letter, sent)
      } catch (error) {
        if (isOfTheLetter(error)) this.#refused.add(letter)
        throw error
      }
    }
    const mine = this.#alone.then(send)
    this.#alone = mine.catch(() => {})
    return mine
  }

  #publish(letter: Letter, envelope: ConfirmEnvelope, publisher: Publisher, leave: () => void): Sent {
    const { proven: proof, withdraw } = publisher.publish(envelope, letter.body)
    const sent = { proof, withdraw, settled: false, publisher, leave, sinceMs: this.#clock.monotonicMs() }
    const settle = (): void => {
      sent.settled = true
      leave()
    }
    proof.then(settle, settle)
    this.#sent.set(letter, sent)
    return sent
  }

  async #answered(letter: Letter, sent: Sent): Promise<void> {
    const { blocked } = await this.#looked(sent)
    if (sent.settled) {
      this.#sent.delete(letter)
      return sent.proof
    }
    // As long as the broker has told us to publish nothing it reads nothing, and has forgotten nothing.
    if (blocked !== undefined) sent.sinceMs = this.#clock.monotonicMs()
    const waitedMs = this.#clock.monotonicMs() - sent.sinceMs
    if (sent.withdraw()) {
      this.#sent.delete(letter)
      sent.leave()
    } else if (waitedMs >= forgottenAfterMs) void sent.publisher.close().catch(() => {})
    if (blocked !== undefined) throw new Blocked(blocked)
    throw new Error(`the broker has not answered for ${Math.round(waitedMs / 1000)} s`)
  }

  /** Until the answer is there, or it is time to say that it is not. `blocked`: why it cannot come. */
  async #looked(sent: Sent): Promise<{ blocked: string | undefined }> {
    for (let waitedMs = 0; !sent.settled && waitedMs < confirmTimeoutMs; waitedMs += lookEveryMs) {
      await atMost(
        sent.proof.catch(() => {}),
        lookEveryMs,
        this.#clock,
      )
      const { blocked } = this.#connection
      if (blocked !== undefined) return { blocked }
    }
    return { blocked: undefined }
  }

  /** Once for all letters that miss it. Never throws: why it fails is not the letter's story, and it is tried again. */
  #declareAgain(siding: Siding): Promise<void> {
    const name = nameOf(siding)
    const underWay = this.#declaring.get(name)
    if (underWay) return underWay
    const topology = declareTopology(this.#connection, sidingTopology(siding))
    const declared = atMost(topology, confirmTimeoutMs, this.#clock)
      .catch(() => {})
      .finally(() => this.#declaring.delete(name))
    this.#declaring.set(name, declared)
    return declared
  }
}

/** The broker has told us to publish nothing, and why. */
class Blocked extends Error {}

/** Whether less of it may do: AMQP has no bytes for it, or RabbitMQ says of something in it that it cannot be. */
function isOfTheLetter(error: unknown): boolean {
  return error instanceof Unsendable || /^(PRECONDITION_FAILED|CONTENT_TOO_LARGE)$/.test(codeOf(error))
}

function address(siding: Siding, { properties, headers }: Enclosure): ConfirmEnvelope {
  return { ...properties, exchange: nameOf(siding), routingKey: siding.queue, headers: { ...headers } }
}

function nameOf(siding: Siding): string {
  return rungName(siding.group, siding.delayMs)
}

function unavailable(siding: Siding, cause: unknown): TidegateError {
  const [how, hint] = diagnosis(cause)
  return new TidegateError('SIDING_UNAVAILABLE', {
    message: `${nameOf(siding)} ${how}: ${amqpMessageOf(cause)}`,
    retryable: true,
    hint,
    cause,
  })
}

function diagnosis(cause: unknown): [how: string, hint: string] {
  if (cause instanceof Blocked)
    return [
      'waits, for the broker takes nothing',
      'RabbitMQ is short of memory or disk: see `rabbitmq-diagnostics alarms`, and give it more',
    ]
  if (cause instanceof Refused)
    return [
      'is full',
      'its letters come back by themselves; until there is room the partitions behind it wait',
    ]
  if (cause instanceof Unrouted)
    return ['is missing', 'it is declared again by itself; see who deletes queues']
  if (isOfTheLetter(cause))
    return [
      'does not take a letter',
      'see what RabbitMQ says of it; its max_message_size may be less than it was',
    ]
  if (cause instanceof TidegateError) return ['cannot be reached', cause.hint]
  return ['cannot be reached', 'see whether RabbitMQ runs and the queue exists']
}
