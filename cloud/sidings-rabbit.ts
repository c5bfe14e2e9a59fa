import { setImmediate as nextTurn } from 'node:timers/promises'
import type { Channel, Envelope } from 'rabbitmq-client'
import type { Clock } from '../src/clock.ts'
import { codeOf, messageOf, TidegateError } from '../src/errors.ts'
import { deadQueue, rungName } from '../src/wire.ts'
import type { Broker } from './broker-rabbit.ts'
import type { Letter, Siding, Sidings } from './delivery.ts'
import { atMost } from './timeout.ts'
import { declareTopology } from './topology-rabbit.ts'
import { sidingTopology } from './topology.ts'

/** The client waits for a confirm for ever. */
const confirmTimeoutMs = 15_000
const closeTimeoutMs = 3_000

/**
 * Rungs and dead letters, with publisher confirms and proof of routing. A siding that is missing is declared again,
 * for the letter's next try.
 */
export function rabbitSidings(broker: Broker, clock: Clock): Sidings {
  /** Numbers of letters. Nothing else tells two letters apart: devices choose the IDs of their events. */
  const returned = new Set<string>()
  const declaring = new Map<string, Promise<void>>()
  let letters = 0
  let opening: Promise<Channel> | undefined
  let closing: Promise<void> | undefined

  async function open(): Promise<Channel> {
    const channel = await broker.connection.acquire({ emitErrorsFromChannel: true })
    channel.on('error', () => {})
    channel.on('basic.return', (message) => returned.add(String(message.correlationId)))
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
    const correlationId = String(++letters)
    try {
      await channel.basicPublish({ ...envelope, correlationId }, body)
      // A message that no queue took is confirmed all the same. Its return comes first on the wire, but the client
      // tells of it a turn later than of the confirm.
      await nextTurn()
      if (returned.has(correlationId))
        throw new Unrouted(`no queue took it: ${describe(envelope)} is missing`)
    } finally {
      returned.delete(correlationId)
    }
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

  /** Once for all letters that miss it. Never throws: why it fails is not the letter's story, and it is tried again. */
  function declareAgain(siding: Siding, envelope: Envelope): Promise<void> {
    const name = describe(envelope)
    const underWay = declaring.get(name)
    if (underWay) return underWay
    const declared = atMost(declareTopology(broker, sidingTopology(siding)), confirmTimeoutMs, clock)
      .catch(() => {})
      .finally(() => declaring.delete(name))
    declaring.set(name, declared)
    return declared
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
        if (error instanceof Unrouted || codeOf(error) === 'NOT_FOUND') await declareAgain(siding, envelope)
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

/** Confirmed, and returned. */
class Unrouted extends Error {}

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
