import type { Channel, SyncMessage } from 'rabbitmq-client'
import { asSentOf } from '../../src/amqp/as-sent-rabbit.ts'
import { amqpMessageOf } from '../../src/amqp/faults-rabbit.ts'
import { publishedAgain } from '../../src/amqp/property-block.ts'
import type { Clock } from '../../src/clock.ts'
import { codeOf, TidegateError } from '../../src/errors.ts'
import { atMost, orAborted } from '../../src/lifecycle.ts'
import type { Logger } from '../../src/log.ts'
import { headers as names, wire } from '../../src/contract/wire.ts'
import type { AmqpConnection } from './connection-rabbit.ts'
import { createPublisher, type Publisher, Unsendable } from './publisher-rabbit.ts'

/** More than a start leaves behind; what an operator left there for longer is not moved in one go. */
const messagesMax = 10_000
const answerTimeoutMs = 15_000
const closeTimeoutMs = 3_000

export interface ReplayingOptions {
  connection: AmqpConnection
  clock: Clock
  log: Logger
  /** After an attempt that failed. */
  retryDelayMs?: number
}

/**
 * Publishes again what no queue wanted, once, after the start. An exchange must exist before queues can be bound to
 * it, and a gateway that finds it in that moment has its events confirmed into `tidegate.unroutable`: they are routed
 * now, with the properties and the body that they were sent with; but for the user ID, in which RabbitMQ believes its user alone, and
 * which goes along as a header (G9). What still nobody wants goes back there. Nothing waits for it: what fails is tried again later.
 */
export function startReplaying(options: ReplayingOptions): { close(): Promise<void> } {
  const { connection, clock, log, retryDelayMs = 30_000 } = options
  const stopping = new AbortController()

  async function run(): Promise<void> {
    while (!stopping.signal.aborted) {
      try {
        const replayed = await attempt(connection, clock, stopping.signal)
        if (replayed > 0) log.info({ replayed }, 'published again what no queue had wanted')
        return
      } catch (error) {
        if (stopping.signal.aborted) return
        log.warn(
          { code: codeOf(error), retryDelayMs },
          `could not publish again what no queue had wanted: ${amqpMessageOf(error)}`,
        )
      }
      await clock.sleep(retryDelayMs, stopping.signal).catch(() => {})
    }
  }

  const running = run()
  return {
    close() {
      stopping.abort()
      return running
    },
  }
}

/** @returns how many messages were published again. @throws whatever RabbitMQ says, or that it says nothing. */
async function attempt(connection: AmqpConnection, clock: Clock, stopping: AbortSignal): Promise<number> {
  const late = new AbortController()
  const signal = AbortSignal.any([stopping, late.signal])
  let timer = { cancel(): void {} }
  const answered = (): void => {
    timer.cancel()
    timer = clock.after(answerTimeoutMs, () => {
      // It reads nothing then; what has been sent to it arrives when it goes on, and sent again would be there twice.
      if (connection.blocked !== undefined) answered()
      else late.abort(unanswered(connection))
    })
  }
  answered()
  let channel: Channel | undefined
  try {
    // One that comes too late is closed with its connection.
    channel = await orAborted(connection.client.acquire({ emitErrorsFromChannel: true }), signal)
    channel.on('error', () => {})
    return await orAborted(replay(channel, connection.user, answered, signal), signal)
  } finally {
    timer.cancel()
    // What was not acknowledged goes back to its queue.
    if (channel) await atMost(channel.close(), closeTimeoutMs, clock)
  }
}

/** What cannot be sent as it is stays where it is: it comes back to its queue with the end of the channel. */
async function replay(
  channel: Channel,
  user: string | undefined,
  answered: () => void,
  signal: AbortSignal,
): Promise<number> {
  const publisher = await createPublisher(channel)
  const { messageCount } = await channel.queueDeclare({ queue: wire.unroutable, passive: true })
  const wanted = Math.min(messageCount, messagesMax)
  let replayed = 0
  for (let taken = 0; taken < wanted; taken++) {
    signal.throwIfAborted()
    answered()
    const message = await channel.basicGet({ queue: wire.unroutable })
    if (message === undefined) break
    if (!(await publishAgain(publisher, message, user))) continue
    channel.basicAck({ deliveryTag: message.deliveryTag })
    replayed += 1
  }
  return replayed
}

/** Whether it could be sent; one is sent at a time. @throws whatever RabbitMQ says. */
async function publishAgain(
  publisher: Publisher,
  message: SyncMessage,
  user: string | undefined,
): Promise<boolean> {
  const { properties, fault } = asSentOf(message)
  if (fault !== undefined) return false
  const { body, routingKey } = message
  const { proven } = publisher.publish(
    {
      exchange: wire.exchange,
      routingKey,
      properties: wasPublishedAgain(message, user)
        ? properties
        : publishedAgain(properties, { user, header: names.publisher }),
    },
    body as Buffer,
  )
  try {
    await proven
    return true
  } catch (error) {
    if (error instanceof Unsendable) return false
    throw error
  }
}

/** By a cloud, and nobody wanted it that time either. */
function wasPublishedAgain({ userId, headers }: SyncMessage, user: string | undefined): boolean {
  return userId === user && headers?.[names.publisher] !== undefined
}

function unanswered(connection: AmqpConnection): TidegateError {
  return new TidegateError('BROKER_UNREACHABLE', {
    message: `the broker at ${connection.where} has not answered for ${answerTimeoutMs / 1000} s`,
    retryable: true,
    hint: 'see whether RabbitMQ has an alarm: rabbitmq-diagnostics check_local_alarms',
  })
}
