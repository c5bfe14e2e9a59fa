import { setImmediate as nextTurn } from 'node:timers/promises'
import type { Channel, Envelope } from 'rabbitmq-client'
import type { Clock } from '../src/clock.ts'
import { codeOf, messageOf, TidegateError } from '../src/errors.ts'
import { deadQueue, rungName } from '../src/wire.ts'
import type { Broker } from './broker-rabbit.ts'
import type { Letter, Siding, Sidings } from './delivery.ts'
import { atMost } from './timeout.ts'

/** The client waits for a confirm for ever. */
const confirmTimeoutMs = 15_000
const closeTimeoutMs = 3_000

/** Rungs and dead letters, with publisher confirms and proof of routing. */
export function rabbitSidings(broker: Broker, clock: Clock): Sidings {
  /** How many of each were returned: two letters may be alike but for their bodies. */
  const returned = new Map<string, number>()
  let opening: Promise<Channel> | undefined
  let closing: Promise<void> | undefined

  async function open(): Promise<Channel> {
    const channel = await broker.connection.acquire({ emitErrorsFromChannel: true })
    channel.on('error', () => {})
    channel.on('basic.return', (message) => {
      const route = routeOf(message)
      returned.set(route, (returned.get(route) ?? 0) + 1)
    })
    channel.once('close', () => {
      opening = undefined
      returned.clear()
    })
    await channel.confirmSelect()
    return channel
  }

  async function publish(envelope: Envelope, body: Buffer): Promise<void> {
    opening ??= open()
    let channel: Channel
    try {
      channel = await opening
    } catch (error) {
      opening = undefined
      throw error
    }
    await channel.basicPublish(envelope, body)
    // A message that no queue took is confirmed all the same. Its return comes first on the wire, but the client
    // tells of it a turn later than of the confirm.
    await nextTurn()
    const route = routeOf(envelope)
    const left = returned.get(route) ?? 0
    if (left > 1) returned.set(route, left - 1)
    else returned.delete(route)
    if (left > 0) throw new Error(`no queue took it: ${describe(envelope)} is missing`)
  }

  async function confirmed(envelope: Envelope, body: Buffer): Promise<void> {
    let done = false
    await atMost(
      publish(envelope, body).then(() => (done = true)),
      confirmTimeoutMs,
      clock,
    )
    if (!done) throw new Error(`no confirm within ${confirmTimeoutMs} ms`)
  }

  async function close(): Promise<void> {
    const channel = await opening?.catch(() => undefined)
    await channel?.close()
  }

  return {
    async send(siding, letter) {
      const envelope = address(siding, letter)
      try {
        await confirmed(envelope, letter.body)
      } catch (error) {
        throw unavailable(envelope, error)
      }
    },
    close: () => (closing ??= atMost(close(), closeTimeoutMs, clock)),
  }
}

function address(siding: Siding, letter: Letter): Envelope {
  const target =
    siding.kind === 'retry'
      ? { exchange: rungName(siding.group, siding.delayMs), routingKey: siding.queue }
      : { exchange: '', routingKey: deadQueue(siding.group) }
  return { ...letter.properties, ...target, headers: { ...letter.headers }, durable: true, mandatory: true }
}

function routeOf(message: Pick<Envelope, 'exchange' | 'routingKey' | 'messageId'>): string {
  return `${message.exchange ?? ''}\n${message.routingKey ?? ''}\n${message.messageId ?? ''}`
}

function describe(envelope: Envelope): string {
  return envelope.exchange || envelope.routingKey || 'the siding'
}

function unavailable(envelope: Envelope, cause: unknown): TidegateError {
  const full = codeOf(cause) === 'NACK'
  return new TidegateError('SIDING_UNAVAILABLE', {
    message: `${describe(envelope)} ${full ? 'is full' : 'cannot be reached'}: ${messageOf(cause)}`,
    retryable: true,
    hint: full
      ? 'replay or remove its letters; until then the partitions behind it wait'
      : 'see whether RabbitMQ runs and the queue exists',
    cause,
  })
}
