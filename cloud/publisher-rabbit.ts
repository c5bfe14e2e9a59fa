import type { Channel } from 'rabbitmq-client'
import { confirmChannel, type ConfirmEnvelope } from '../src/amqp/confirm-channel-rabbit.ts'
import type { Fate } from '../src/amqp/confirms.ts'

/** Publishing with proof, one promise a message. */
export interface Publisher {
  /** Why nothing can be published any more. */
  readonly over: { error: unknown } | undefined
  /**
   * Resolves when the broker has confirmed the message *and* routed it to a queue (G5).
   * @throws Unrouted, Refused, why AMQP has no bytes for it (an error `CODEC` of the client, and nothing was sent), or what ended
   *   the channel before the answer: then the message may have arrived or not.
   */
  publish(envelope: ConfirmEnvelope, body: Buffer): Promise<void>
  close(): Promise<void>
}

/** Confirmed, but no queue took it. */
export class Unrouted extends Error {}

/** Answered by a negative confirm: a full queue does that. */
export class Refused extends Error {}

interface Waiting {
  resolve: () => void
  reject: (error: unknown) => void
}

/** Takes the publishing of a channel over. @throws whatever the broker says. */
export async function createPublisher(channel: Channel): Promise<Publisher> {
  /** Whoever waits for an answer, handed over to the socket or not. */
  const waiting = new Set<Waiting>()
  let over: { error: unknown } | undefined

  const confirms = await confirmChannel<Waiting>(channel, {
    onFates(fates) {
      for (const fate of fates) {
        waiting.delete(fate.item)
        settle(fate)
      }
    },
    onUnsendable(message, error) {
      waiting.delete(message)
      message.reject(error)
    },
    onEnd(error) {
      over = { error }
      for (const message of waiting) message.reject(error)
      waiting.clear()
    },
  })

  return {
    get over() {
      return over
    },
    publish(envelope, body) {
      return new Promise<void>((resolve, reject) => {
        if (over) return reject(over.error)
        const message = { resolve, reject }
        waiting.add(message)
        confirms.publish(message, envelope, body)
      })
    },
    close: () => confirms.close(),
  }
}

function settle({ kind, item: { resolve, reject } }: Fate<Waiting>): void {
  if (kind === 'routed') resolve()
  else if (kind === 'unroutable') reject(new Unrouted('no queue took it'))
  else reject(new Refused('the queue refused it'))
}
