import { amqpMessageOf } from '../../src/amqp/faults-rabbit.ts'
import type { ConfirmEnvelope } from '../../src/amqp/confirm-channel-rabbit.ts'
import type { Clock } from '../../src/clock.ts'
import { wire } from '../../src/contract/wire.ts'
import { codeOf, TidegateError } from '../../src/errors.ts'
import { atMost } from '../../src/lifecycle.ts'
import type { AmqpConnection } from '../amqp/connection-rabbit.ts'
import type { Enclosure, Letter } from '../amqp/delivery.ts'
import { keepPublisher, type KeptPublisher } from '../amqp/kept-publisher-rabbit.ts'
import { Refused, Unrouted, Unsendable } from '../amqp/publisher-rabbit.ts'
import type { Outbound, Target } from './outbound.ts'

/** The client waits for a confirm for ever. What comes after this, comes twice: its receivers know a repeat. */
const answerTimeoutMs = 30_000
const closeTimeoutMs = 3_000

/** A channel of its own, with publisher confirms and proof of routing; another after one that is over. */
export function rabbitOutbound(connection: AmqpConnection, clock: Clock): Outbound {
  return new RabbitOutbound(connection, clock)
}

class RabbitOutbound implements Outbound {
  readonly #connection: AmqpConnection
  readonly #clock: Clock
  readonly #publisher: KeptPublisher
  #closing: Promise<void> | undefined

  constructor(connection: AmqpConnection, clock: Clock) {
    this.#connection = connection
    this.#clock = clock
    this.#publisher = keepPublisher(connection)
  }

  async send(target: Target, message: Letter): Promise<void> {
    let fault: unknown
    for (const enclosure of [message, ...message.barer]) {
      try {
        return await this.#publish(envelopeFor(target, enclosure, this.#connection.user), message.body)
      } catch (error) {
        fault = error
      }
      const isOfTheMessage = fault instanceof Unsendable || codeOf(fault) === 'PRECONDITION_FAILED'
      if (!isOfTheMessage) break
    }
    throw unproven(target, fault)
  }

  close(): Promise<void> {
    return (this.#closing ??= atMost(this.#publisher.close(), closeTimeoutMs, this.#clock))
  }

  async #publish(envelope: ConfirmEnvelope, body: Buffer): Promise<void> {
    const publisher = await this.#publisher.now()
    const { proven } = publisher.publish(envelope, body)
    let isLate = false
    const timer = this.#clock.after(answerTimeoutMs, () => {
      isLate = true
      // What waits for an answer hears of the end of its channel.
      void publisher.close().catch(() => {})
    })
    try {
      await proven
    } catch (error) {
      throw isLate ? new Error(`the broker has not answered for ${answerTimeoutMs / 1000} s`) : error
    } finally {
      timer.cancel()
    }
  }
}

function envelopeFor(
  target: Target,
  { properties, headers }: Enclosure,
  user: string | undefined,
): ConfirmEnvelope {
  const message = { ...properties, headers: { ...headers } }
  if (target.kind === 'queue') return { ...message, exchange: '', routingKey: target.queue }
  // RabbitMQ takes it of that user alone, and so whoever reads it can believe it (G9).
  return {
    ...message,
    exchange: wire.exchange,
    routingKey: target.routingKey,
    ...(user !== undefined && { userId: user }),
  }
}

function unproven(target: Target, cause: unknown): TidegateError {
  const where = target.kind === 'queue' ? target.queue : wire.exchange
  const [how, hint] = diagnosis(cause)
  return new TidegateError('PUBLISH_UNPROVEN', {
    message: `${where} ${how}: ${amqpMessageOf(cause)}`,
    retryable: true,
    hint,
    cause,
  })
}

function diagnosis(cause: unknown): [how: string, hint: string] {
  if (cause instanceof Refused) return ['is full', 'it is tried again; see why its group is behind']
  if (cause instanceof Unrouted)
    return ['is not there', 'start the consumer of that group, or stop the replay: tidegate dead stop']
  return ['cannot be reached', 'see whether RabbitMQ runs and has no alarm: rabbitmq-diagnostics alarms']
}
