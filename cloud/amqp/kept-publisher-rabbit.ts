import type { AmqpConnection } from './connection-rabbit.ts'
import { createPublisher, type Publisher } from './publisher-rabbit.ts'

/** A publisher on a channel of its own; another after one that is over. */
export interface KeptPublisher {
  /** The one of the moment; whoever asks after its end opens another. */
  now(): Promise<Publisher>
  /** What is under way may still be answered; no other is opened. */
  close(): Promise<void>
}

export function keepPublisher(connection: AmqpConnection): KeptPublisher {
  let opening: Promise<Publisher> | undefined
  let closed = false
  return {
    async now() {
      for (;;) {
        if (closed) throw new Error('nothing is published any more')
        opening ??= openPublisher(connection)
        const own = opening
        const opened = await own.catch((error: unknown) => {
          if (opening === own) opening = undefined
          throw error
        })
        if (!opened.over) return opened
        if (opening === own) opening = undefined
      }
    },
    async close() {
      closed = true
      const publisher = await opening?.catch(() => undefined)
      await publisher?.close()
    },
  }
}

/** One that nobody else uses. */
export async function openPublisher({ client }: AmqpConnection): Promise<Publisher> {
  const channel = await client.acquire({ emitErrorsFromChannel: true })
  channel.on('error', () => {})
  return createPublisher(channel)
}
