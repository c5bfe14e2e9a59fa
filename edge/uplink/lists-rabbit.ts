import type { AsyncMessage, Channel, Connection } from 'rabbitmq-client'
import { amqpMessageOf } from '../../src/amqp/faults-rabbit.ts'
import type { Clock } from '../../src/clock.ts'
import { codeOf } from '../../src/errors.ts'
import type { Logger } from '../../src/log.ts'

/** Who is to be given lists that come down with the uplink. */
export interface ListsFollower {
  /** Theirs alone; nobody declares it here. */
  queue: string
  /** Resolves when they are durable, or refused: then they are acknowledged. Rejects: they are to come again. */
  take: (json: Uint8Array) => Promise<unknown>
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

/**
 * Reads the lists of one session, on a connection given to `receiveAsSent`, on a channel of their own, so that whatever becomes of them, the events go on. Never rejects; that there are
 * none to read is told once. Ends with the session.
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
      await channel.basicQos({ prefetchCount: 1 })
      const onMessage = (message: AsyncMessage): void =>
        void settle(channel, message, take, { clock, log, signal })
      await channel.basicConsume({ queue }, onMessage)
      told = false
      log.info({ queue }, 'lists are read from the uplink')
      await over
      if (channel.active && !signal.aborted) await channel.close().catch(() => {})
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

async function settle(
  channel: Channel,
  { body, deliveryTag }: AsyncMessage,
  take: ListsFollower['take'],
  { clock, log, signal }: ListsSurroundings,
): Promise<void> {
  try {
    await take(body as Uint8Array)
    channel.basicAck({ deliveryTag })
  } catch (error) {
    if (signal.aborted) return
    log.error({ ...about(error), retryInMs: offerAgainAfterMs }, 'lists that came down could not be kept')
    await clock.sleep(offerAgainAfterMs, signal).catch(() => {})
    if (channel.active) channel.basicNack({ deliveryTag, requeue: true })
  }
}

function about(error: unknown): Record<string, unknown> {
  return { code: codeOf(error), detail: amqpMessageOf(error) }
}
