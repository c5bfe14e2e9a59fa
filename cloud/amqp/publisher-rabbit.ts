import type { Channel } from 'rabbitmq-client'
import {
  type ConfirmChannel,
  type AsSentEnvelope,
  type ConfirmEnvelope,
  openConfirmChannel,
} from '../../src/amqp/confirm-channel-rabbit.ts'
import type { Fate } from '../../src/amqp/confirms.ts'
import { messageOf } from '../../src/errors.ts'

/** Publishing with proof, one promise a message. */
export interface Publisher {
  /** Why nothing can be published any more. */
  readonly over: { error: unknown } | undefined
  /** What goes as it was sent before must be the only one under way. */
  publish(envelope: ConfirmEnvelope | AsSentEnvelope, body: Buffer): Publishing
  /** Takes nothing more; what is under way may still be answered. Idempotent. */
  close(): Promise<void>
}

export interface Publishing {
  /**
   * Resolves when the broker has confirmed the message *and* routed it to a queue (G5).
   * @throws Unrouted, Refused, Unsendable, or what ended the channel before the answer: then the message may have arrived or not.
   */
  proven: Promise<void>
  /** True: nothing of it has been sent, nothing will be, and `proven` stays open. False: it is on its way, or answered. */
  withdraw: () => boolean
}

/** Confirmed, but no queue took it. */
export class Unrouted extends Error {
  readonly code = 'UNROUTABLE'
}

/** Answered by a negative confirm: a full queue does that. */
export class Refused extends Error {
  readonly code = 'NACKED'
}

/** AMQP has no bytes for it, or not in one frame; nothing was sent. */
export class Unsendable extends Error {
  readonly code = 'UNSENDABLE'
}

interface Waiting {
  resolve: () => void
  reject: (error: unknown) => void
}

/** Takes the publishing of a channel over, and closes it when it cannot. @throws whatever the broker says. */
export async function createPublisher(channel: Channel): Promise<Publisher> {
  /** Whoever waits for an answer, handed over to the socket or not. */
  const waiting = new Set<Waiting>()
  let over: { error: unknown } | undefined

  const settle = ({ kind, item }: Fate<Waiting>): void => {
    waiting.delete(item)
    if (kind === 'routed') item.resolve()
    else if (kind === 'unroutable') item.reject(new Unrouted('no queue took it'))
    else item.reject(new Refused('the queue refused it'))
  }
  const end = (error: unknown): void => {
    over ??= { error }
    for (const message of waiting) message.reject(error)
    waiting.clear()
  }
  let confirms: ConfirmChannel<Waiting>
  try {
    confirms = await openConfirmChannel<Waiting>(channel, {
      onFates: (fates) => fates.forEach(settle),
      onUnsendable(message, error) {
        waiting.delete(message)
        message.reject(new Unsendable(messageOf(error), { cause: error }))
      },
      onEnd: end,
    })
  } catch (error) {
    void channel.close().catch(() => {})
    throw error
  }

  return {
    get over() {
      return over
    },
    publish(envelope, body) {
      const { promise: proven, ...message } = deferred()
      if (over) message.reject(over.error)
      else {
        waiting.add(message)
        confirms.publish(message, envelope, body)
      }
      return { proven, withdraw: () => confirms.withdraw(message) && waiting.delete(message) }
    },
    close() {
      over ??= { error: new Error('the publisher is closing') }
      return confirms.close()
    },
  }
}

function deferred(): Waiting & { promise: Promise<void> } {
  let settle!: Waiting
  const promise = new Promise<void>((resolve, reject) => {
    settle = { resolve, reject }
  })
  return { promise, ...settle }
}
