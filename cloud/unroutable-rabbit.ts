import { wire } from '../src/wire.ts'
import type { Broker } from './broker-rabbit.ts'

/** More than a start leaves behind; what an operator left there for longer is not moved in one go. */
const messagesMax = 10_000

/**
 * Publishes again what no queue wanted. An exchange must exist before queues can be bound to it, and a gateway that
 * finds it in that moment has its events confirmed into `tidegate.unroutable`: they are routed now. What still
 * nobody wants goes back there.
 * @returns how many messages were published again.
 */
export async function replayUnroutable(broker: Broker): Promise<number> {
  const channel = await broker.connection.acquire({ emitErrorsFromChannel: true })
  channel.on('error', () => {})
  try {
    await channel.confirmSelect()
    const { messageCount } = await channel.queueDeclare({ queue: wire.unroutable, passive: true })
    const wanted = Math.min(messageCount, messagesMax)
    for (let replayed = 0; replayed < wanted; replayed++) {
      const message = await channel.basicGet({ queue: wire.unroutable })
      if (message === undefined) return replayed
      const { body, routingKey, headers, messageId, appId, contentType, type, timestamp, deliveryTag } =
        message
      await channel.basicPublish(
        {
          exchange: wire.exchange,
          routingKey,
          durable: true,
          ...(headers && { headers }),
          ...(messageId !== undefined && { messageId }),
          ...(appId !== undefined && { appId }),
          ...(contentType !== undefined && { contentType }),
          ...(type !== undefined && { type }),
          ...(timestamp !== undefined && { timestamp }),
        },
        body as Buffer,
      )
      channel.basicAck({ deliveryTag })
    }
    return wanted
  } finally {
    await channel.close()
  }
}
