import type { Channel } from 'rabbitmq-client'
import type { Clock } from '../../src/clock.ts'
import { codeOf, messageOf, TidegateError } from '../../src/errors.ts'
import { atMost, orAborted } from '../../src/lifecycle.ts'
import type { Logger } from '../../src/log.ts'
import { wire } from '../../src/contract/wire.ts'
import type { AmqpConnection } from './connection-rabbit.ts'
import { bytesOf } from './lease-rabbit.ts'
import { createPublisher } from './publisher-rabbit.ts'

/** More than a start leaves behind; what an operator left there for longer is not moved in one go. */
const messagesMax = 10_000
/** A broker that is short of memory or disk answers no publish, for as long as it is. */
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
 * now. What still nobody wants goes back there. Nothing waits for it: what fails is tried again later.
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
          `could not publish again what no queue had wanted: ${messageOf(error)}`,
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
    timer = clock.after(answerTimeoutMs, () => late.abort(unanswered(connection)))
  }
  answered()
  let channel: Channel | undefined
  try {
    // One that comes too late is closed with its connection.
    channel = await orAborted(connection.client.acquire({ emitErrorsFromChannel: true }), signal)
    channel.on('error', () => {})
    return await orAborted(replay(channel, answered, signal), signal)
  } finally {
    timer.cancel()
    // What was not acknowledged goes back to its queue.
    if (channel) await atMost(channel.close(), closeTimeoutMs, clock)
  }
}

async function replay(channel: Channel, answered: () => void, signal: AbortSignal): Promise<number> {
  const publisher = await createPublisher(channel)
  const { messageCount } = await channel.queueDeclare({ queue: wire.unroutable, passive: true })
  const wanted = Math.min(messageCount, messagesMax)
  for (let replayed = 0; replayed < wanted; replayed++) {
    signal.throwIfAborted()
    answered()
    const message = await channel.basicGet({ queue: wire.unroutable })
    if (message === undefined) return replayed
    const { body, routingKey, headers, messageId, appId, contentType, type, timestamp, deliveryTag } = message
    const { proven } = publisher.publish(
      {
        exchange: wire.exchange,
        routingKey,
        ...(headers && { headers }),
        ...(messageId !== undefined && { messageId }),
        ...(appId !== undefined && { appId }),
        ...(contentType !== undefined && { contentType }),
        ...(type !== undefined && { type }),
        ...(timestamp !== undefined && { timestamp }),
      },
      bytesOf(body),
    )
    await proven
    channel.basicAck({ deliveryTag })
  }
  return wanted
}

function unanswered(connection: AmqpConnection): TidegateError {
  const why = connection.blocked === undefined ? '' : `: ${connection.blocked}`
  return new TidegateError('BROKER_UNREACHABLE', {
    message: `the broker at ${connection.where} has not answered for ${answerTimeoutMs / 1000} s${why}`,
    retryable: true,
    hint: 'see whether RabbitMQ has an alarm: rabbitmq-diagnostics check_local_alarms',
  })
}
