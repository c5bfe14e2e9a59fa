import { Connection } from 'rabbitmq-client'
import { isBatch, splitBatch } from '../../src/contract/batch.ts'
import { numberOf } from './packets.ts'

export interface Probe {
  /** When each event arrived, by its number, by performance.now(). */
  readonly arrivals: ReadonlyMap<number, number>
  close(): Promise<void>
}

/** Watches what an exchange is sent, in a queue of its own beside the others. */
export async function startProbe(
  url: string,
  binding: { exchange: string; routingKey: string },
): Promise<Probe> {
  const arrivals = new Map<number, number>()
  // The bare client: the connection of the cloud keeps properties in a form of its own.
  const connection = new Connection({ url, frameMax: 131_072 })
  const consumer = connection.createConsumer(
    { queueOptions: { exclusive: true }, queueBindings: [binding], noAck: true },
    ({ body, contentType, contentEncoding }) => {
      const nowMs = performance.now()
      const bytes = body as Buffer
      for (const text of isBatch(contentType) ? splitBatch(bytes, contentEncoding) : [bytes])
        arrivals.set(numberOf((JSON.parse(text.toString()) as { id: string }).id), nowMs)
    },
  )
  await new Promise<void>((resolve) => consumer.once('ready', resolve))
  return {
    arrivals,
    async close() {
      await consumer.close()
      await connection.close()
    },
  }
}
