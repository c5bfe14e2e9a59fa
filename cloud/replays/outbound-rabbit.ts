import { amqpMessageOf } from '../../src/amqp/faults-rabbit.ts'
import type { ConfirmEnvelope } from '../../src/amqp/confirm-channel-rabbit.ts'
import type { Clock } from '../../src/clock.ts'
import { wire } from '../../src/contract/wire.ts'
import { codeOf, TidegateError } from '../../src/errors.ts'
import { atMost } from '../../src/lifecycle.ts'
import type { AmqpConnection } from '../amqp/connection-rabbit.ts'
import type { Enclosure } from '../amqp/delivery.ts'
import { createPublisher, type Publisher, Refused, Unrouted, Unsendable } from '../amqp/publisher-rabbit.ts'
import type { Outbound, Target } from './outbound.ts'

/** The client waits for a confirm for ever. What comes after this, comes twice: its receivers know a repeat. */
const answerTimeoutMs = 30_000
const closeTimeoutMs = 3_000

/** A channel of its own, with publisher confirms and proof of routing; another after one that is over. */
export function rabbitOutbound(connection: AmqpConnection, clock: Clock): Outbound {
  let opening: Promise<Publisher> | undefined
  let closing: Promise<void> | undefined

  async function open(): Promise<Publisher> {
    const channel = await connection.client.acquire({ emitErrorsFromChannel: true })
    channel.on('error', () => {})
    return createPublisher(channel)
  }

  async function publisher(): Promise<Publisher> {
    for (;;) {
      if (closing) throw new Error('nothing is published any more')
      const own = (opening ??= open())
      const opened = await own.catch((error: unknown) => {
        if (opening === own) opening = undefined
        throw error
      })
      if (!opened.over) return opened
      if (opening === own) opening = undefined
    }
  }

  async function publish(envelope: ConfirmEnvelope, body: Buffer): Promise<void> {
    const used = await publisher()
    const { proven } = used.publish(envelope, body)
    const unanswered = Symbol('unanswered')
    let timer = { cancel(): void {} }
    const late = new Promise<typeof unanswered>((resolve) => {
      timer = clock.after(answerTimeoutMs, () => resolve(unanswered))
    })
    try {
      if ((await Promise.race([proven, late])) !== unanswered) return
    } finally {
      timer.cancel()
      proven.catch(() => {})
    }
    void used.close().catch(() => {})
    throw new Error(`the broker has not answered for ${answerTimeoutMs / 1000} s`)
  }

  return {
    async send(target, message) {
      let fault: unknown
      for (const enclosure of [message, ...message.barer]) {
        try {
          return await publish(envelopeFor(target, enclosure, connection.user), message.body)
        } catch (error) {
          fault = error
        }
        const isOfTheMessage = fault instanceof Unsendable || codeOf(fault) === 'PRECONDITION_FAILED'
        if (!isOfTheMessage) break
      }
      throw unproven(target, fault)
    },
    close: () =>
      (closing ??= atMost(
        (async () => {
          const opened = await opening?.catch(() => undefined)
          await opened?.close()
        })(),
        closeTimeoutMs,
        clock,
      )),
  }
}

function envelopeFor(
  target: Target,
  { properties, headers }: Enclosure,
  user: string | undefined,
): ConfirmEnvelope {
  const durable = { ...properties, headers: { ...headers }, durable: true }
  if (target.kind === 'queue') return { ...durable, exchange: '', routingKey: target.queue }
  // RabbitMQ takes it of that user alone, and so whoever reads it can believe it (G9).
  return {
    ...durable,
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
