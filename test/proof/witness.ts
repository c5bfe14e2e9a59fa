import { inflateSync } from 'node:zlib'
import { type AsyncMessage, type Channel, Connection } from 'rabbitmq-client'
import { isBatch } from '../../src/contract/batch.ts'

/** Empties a queue all the time, and knows what was in it. */
export interface Witness {
  /** IDs of all messages that the queue has held since the last call, up to now. */
  held(): Promise<Set<string>>
  close(): Promise<void>
}

const fence = 'fence'

/** By its message ID, or, of a batch, by those of its events. */
function idsOf({ messageId, body, contentType, contentEncoding }: AsyncMessage): string[] {
  if (!isBatch(contentType)) return [String(messageId)]
  const array = contentEncoding === undefined ? (body as Buffer) : inflateSync(body as Buffer)
  return (JSON.parse(array.toString()) as { id: string }[]).map(({ id }) => id)
}

/** Over a plain connection of its own, which nobody cuts. The queue keeps its order, so what was in it comes before a fence. */
export async function watchQueue(brokerUrl: string, queue: string): Promise<Witness> {
  const connection = new Connection({ url: brokerUrl, frameMax: 131_072 })
  connection.on('error', () => {})
  const channel: Channel = await connection.acquire()
  let seen = new Set<string>()
  let fences = 0
  let passed: (() => void) | undefined
  await channel.basicConsume({ queue, noAck: true }, (message) => {
    if (message.messageId !== fence) for (const id of idsOf(message)) seen.add(id)
    else if (message.correlationId === String(fences)) passed?.()
  })

  return {
    async held() {
      const upToNow = new Promise<void>((resolve) => (passed = resolve))
      const envelope = { routingKey: queue, messageId: fence, correlationId: String(++fences), durable: true }
      await channel.basicPublish(envelope, Buffer.alloc(1))
      await upToNow
      const held = seen
      seen = new Set()
      return held
    },
    async close() {
      await channel.close()
      await connection.close()
    },
  }
}
