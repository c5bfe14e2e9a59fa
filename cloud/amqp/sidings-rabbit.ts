import type { ConfirmEnvelope } from '../../src/amqp/confirm-channel-rabbit.ts'
import type { Clock } from '../../src/clock.ts'
import { codeOf, messageOf, TidegateError } from '../../src/errors.ts'
import { atMost } from '../../src/lifecycle.ts'
import { deadQueue, rungName } from '../../src/contract/wire.ts'
import type { AmqpConnection } from './connection-rabbit.ts'
import type { Letter, Siding, Sidings } from './delivery.ts'
import { createPublisher, type Publisher, type Publishing, Refused, Unrouted } from './publisher-rabbit.ts'
import { declareTopology } from './topology-rabbit.ts'
import { sidingTopology } from './topology.ts'

/** The client waits for a confirm for ever. */
const confirmTimeoutMs = 15_000
const closeTimeoutMs = 3_000

/**
 * Rungs and dead letters, with publisher confirms and proof of routing. A siding that is missing is declared again,
 * for the letter's next try.
 */
export function rabbitSidings(connection: AmqpConnection, clock: Clock): Sidings {
  return new RabbitSidings(connection, clock)
}

class RabbitSidings implements Sidings {
  readonly #connection: AmqpConnection
  readonly #clock: Clock
  readonly #declaring = new Map<string, Promise<void>>()
  #opening: Promise<Publisher> | undefined
  #closing: Promise<void> | undefined

  constructor(connection: AmqpConnection, clock: Clock) {
    this.#connection = connection
    this.#clock = clock
  }

  async send(siding: Siding, letter: Letter): Promise<void> {
    const envelope = address(siding, letter)
    try {
      await this.#confirmed(envelope, letter.body)
    } catch (error) {
      if (error instanceof Unrouted || codeOf(error) === 'NOT_FOUND')
        await this.#declareAgain(siding, envelope)
      throw unavailable(envelope, error)
    }
  }

  close(): Promise<void> {
    return (this.#closing ??= atMost(this.#close(), closeTimeoutMs, this.#clock))
  }

  async #close(): Promise<void> {
    const publisher = await this.#opening?.catch(() => undefined)
    await publisher?.close()
  }

  /** The one of the moment; the first letter after its end opens another. */
  async #publisher(): Promise<Publisher> {
    for (;;) {
      if (this.#closing) throw new Error('the sidings are closed')
      this.#opening ??= this.#open()
      const own = this.#opening
      const opened = await own.catch((error: unknown) => {
        if (this.#opening === own) this.#opening = undefined
        throw error
      })
      if (!opened.over) return opened
      if (this.#opening === own) this.#opening = undefined
    }
  }

  async #open(): Promise<Publisher> {
    const channel = await this.#connection.client.acquire({ emitErrorsFromChannel: true })
    channel.on('error', () => {})
    return createPublisher(channel)
  }

  /**
   * Waits as long as the broker has told us to publish nothing: it reads nothing then, and each copy that is sent
   * meanwhile arrives when it goes on.
   */
  async #confirmed(envelope: ConfirmEnvelope, body: Buffer): Promise<void> {
    let publishing: Publishing | undefined
    let done = false
    const proof = this.#publisher().then((open) => {
      publishing = open.publish(envelope, body)
      return publishing.proven.then(() => (done = true))
    })
    for (;;) {
      await atMost(proof, confirmTimeoutMs, this.#clock)
      if (done) return
      if (this.#connection.blocked === undefined) break
    }
    proof.catch(() => {})
    publishing?.withdraw()
    throw new Error(`no confirm within ${confirmTimeoutMs} ms`)
  }

  /** Once for all letters that miss it. Never throws: why it fails is not the letter's story, and it is tried again. */
  #declareAgain(siding: Siding, envelope: ConfirmEnvelope): Promise<void> {
    const name = describe(envelope)
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

function address(siding: Siding, letter: Letter): ConfirmEnvelope {
  const target =
    siding.kind === 'retry'
      ? { exchange: rungName(siding.group, siding.delayMs), routingKey: siding.queue }
      : { exchange: '', routingKey: deadQueue(siding.group) }
  return { ...letter.properties, ...target, headers: { ...letter.headers } }
}

function describe(envelope: ConfirmEnvelope): string {
  return envelope.exchange || envelope.routingKey || 'the siding'
}

function unavailable(envelope: ConfirmEnvelope, cause: unknown): TidegateError {
  const [how, hint] = diagnosis(cause)
  return new TidegateError('SIDING_UNAVAILABLE', {
    message: `${describe(envelope)} ${how}: ${messageOf(cause)}`,
    retryable: true,
    hint,
    cause,
  })
}

function diagnosis(cause: unknown): [how: string, hint: string] {
  if (cause instanceof Refused)
    return ['is full', 'replay or remove its letters; until then the partitions behind it wait']
  if (cause instanceof Unrouted)
    return ['is missing', 'it is declared again by itself; see who deletes queues']
  if (cause instanceof TidegateError) return ['cannot be reached', cause.hint]
  return ['cannot be reached', 'see whether RabbitMQ runs and the queue exists']
}
