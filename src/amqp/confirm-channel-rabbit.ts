import type { Channel, Envelope } from 'rabbitmq-client'
import { codeOf, TidegateError } from '../errors.ts'
import {
  type Answer,
  type ClientInternals,
  contentFrames,
  internalsOf,
  methods,
  withProperties,
} from './client-internals-rabbit.ts'
import { Confirms, type Fate } from './confirms.ts'

export interface ConfirmListener<T> {
  /** Many at a time, in a turn of the event loop of their own or, of what was read before the end, just before it. */
  onFates(fates: Fate<T>[]): void
  /** In place of a fate: AMQP has no bytes for this message, for instance as its headers are longer than a frame. Nothing was sent. */
  onUnsendable(item: T, error: unknown): void
  /** Once: no further fate is told. What has none may or may not have reached the broker. */
  onEnd(error: unknown): void
}

/**
 * A channel in confirm mode, of which every message is mandatory, and persistent where it does not go as it was sent before: only so
 * a confirm is proof (G3, G5).
 */
export interface ConfirmChannel<T> {
  /**
   * Publishes after everything published before. Exactly one fate follows for each call, unless the channel ends first or is
   * over already. What the socket does not take yet waits here as it was given, and only what goes to the socket next is
   * encoded: the caller bounds how much has no fate (G7).
   */
  publish(item: T, envelope: ConfirmEnvelope | AsSentEnvelope, body: Body): void
  /** Takes an item back whose bytes have not begun to go out: true, and it has no fate. Else false. */
  withdraw(item: T): boolean
  /**
   * Takes nothing more, sends what waits, and waits for the broker's answer to the goodbye; ends with the connection at the
   * latest. Idempotent.
   */
  close(): Promise<void>
}

/** Text goes out as UTF-8; what is made of something larger is made when the socket takes it. */
export type Body = Buffer | string | (() => Buffer)

/** The correlation ID is this channel's own: it is how a return is recognised. */
export type ConfirmEnvelope = Omit<Envelope, 'correlationId' | 'durable' | 'deliveryMode' | 'mandatory'>

/**
 * With the properties that a message was sent with before, its correlation ID among them. A return of it cannot be told from that of
 * another: nothing else is to be under way on the channel.
 */
export interface AsSentEnvelope {
  exchange: string
  routingKey: string
  /** As they stand in the content header frame. */
  properties: Buffer
}

/**
 * Puts a channel into confirm mode and takes its publishing over: nobody else may publish on it.
 *
 * The client (rabbitmq-client 5.0.8) numbers a publish in the callback of its write. Node promises no order of callbacks: it defers
 * that of a write that is done at once and not that of one that had to wait for room, which so overtakes those in front of it,
 * over TLS at each buffer; a confirm is then counted for another message. Here a publish gets its number in the moment in
 * which its first frame is taken from it to be written to the socket. A stream takes its chunks one after the other, in the order
 * of the calls (https://nodejs.org/api/stream.html, `writable.write`; docs/FOUNDATIONS.md, N1), so that no other
 * order of the numbers is possible. The client itself is not put into its confirm mode: an answer that passed us by would
 * be a frame it does not expect, and end the connection.
 *
 * @throws TidegateError `AMQP_CLIENT_UNKNOWN` if the client is not built as the one we know; whatever the broker says.
 */
export async function openConfirmChannel<T>(
  channel: Channel,
  listener: ConfirmListener<T>,
): Promise<ConfirmChannel<T>> {
  const client = internalsOf(channel)
  const confirmed = new ConfirmedPublishing<T>(channel, client, listener)
  await client.invoke(methods.confirmSelect, methods.confirmSelectOk, { nowait: false })
  return confirmed
}

class ConfirmedPublishing<T> implements ConfirmChannel<T> {
  readonly #channel: Channel
  readonly #client: ClientInternals
  readonly #listener: ConfirmListener<T>
  readonly #confirms = new Confirms<T>()
  /** Published, and not handed over yet. */
  readonly #waiting = new Set<T>()
  #fates: Fate<T>[] = []
  #sentAsBefore = false
  #ended = false
  #closing: Promise<void> | undefined

  constructor(channel: Channel, client: ClientInternals, listener: ConfirmListener<T>) {
    this.#channel = channel
    this.#client = client
    this.#listener = listener
    channel.on('error', (error: unknown) => this.#end(error))
    channel.on('close', () => setImmediate(() => this.#end(closed())))
    client.stream.on('error', this.#written)
    client.intercept({
      onAck: (answer) => this.#answered('ack', answer),
      onNack: (answer) => this.#answered('nack', answer),
      onReturn: ({ correlationId }) =>
        this.#confirms.returned(this.#sentAsBefore ? this.#confirms.next - 1 : Number(correlationId)),
      onFault: (error) => this.#distrust(error),
    })
  }

  publish(item: T, envelope: ConfirmEnvelope | AsSentEnvelope, body: Body): void {
    if (this.#ended || this.#closing) return
    this.#waiting.add(item)
    this.#client.stream.write(this.#frames(item, envelope, body), this.#written)
  }

  withdraw(item: T): boolean {
    return this.#waiting.delete(item)
  }

  close(): Promise<void> {
    return (this.#closing ??= this.#channel.close())
  }

  /** Runs as far as the socket takes: each frame is asked for when the one before it has been handed over. */
  *#frames(item: T, envelope: ConfirmEnvelope | AsSentEnvelope, body: Body): Generator<Buffer> {
    if (!this.#waiting.delete(item)) return
    let content: Generator<Buffer>
    let first: Buffer
    try {
      content = this.#content(envelope, bytesOf(body))
      first = content.next().value as Buffer
    } catch (error) {
      return this.#listener.onUnsendable(item, error)
    }
    this.#sentAsBefore = 'properties' in envelope
    this.#confirms.number(item)
    yield first
    yield* content
  }

  *#content(envelope: ConfirmEnvelope | AsSentEnvelope, body: Buffer): Generator<Buffer> {
    const { frameBytesMax } = this.#client
    const always = { deliveryMode: 2, mandatory: true, rsvp1: 0 }
    if (!('properties' in envelope)) {
      const correlationId = String(this.#confirms.next)
      return yield* contentFrames(
        this.#channel.id,
        { ...envelope, correlationId, ...always },
        body,
        frameBytesMax,
      )
    }
    const { properties, ...address } = envelope
    const content = contentFrames(this.#channel.id, { ...address, ...always }, body, frameBytesMax)
    const method = content.next().value as Buffer
    const header = withProperties(content.next().value as Buffer, properties, frameBytesMax)
    yield method
    yield header
    yield* content
  }

  readonly #written = (error?: Error | null): void => {
    // That the channel was closed is the client's word for every end; what ended it comes as an event of its own.
    if (error && codeOf(error) !== 'CH_CLOSE') this.#end(error)
  }

  #answered(kind: 'ack' | 'nack', { deliveryTag, multiple }: Answer): void {
    const settled = this.#confirms.answered(kind, deliveryTag, multiple)
    if (this.#fates.length === 0) setImmediate(() => this.#tell())
    for (const fate of settled) this.#fates.push(fate)
  }

  #tell(): void {
    const told = this.#fates
    this.#fates = []
    if (told.length > 0) this.#listener.onFates(told)
  }

  /** The two counts differ: what was read in this turn is not believed either. */
  #distrust(error: unknown): void {
    this.#fates = []
    this.#end(error)
  }

  #end(error: unknown): void {
    if (this.#ended) return
    this.#ended = true
    this.#tell()
    this.#listener.onEnd(error)
  }
}

function bytesOf(body: Body): Buffer {
  if (typeof body === 'string') return Buffer.from(body)
  return Buffer.isBuffer(body) ? body : body()
}

function closed(): TidegateError {
  return new TidegateError('CHANNEL_CLOSED', {
    message: 'the channel was closed',
    retryable: true,
    hint: 'see the log of RabbitMQ for the reason',
  })
}
