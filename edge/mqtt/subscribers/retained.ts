import type { RetainedMessage } from '../../sessions/retained-level.ts'

export interface RetainedParts {
  read: (filter: string) => AsyncIterable<RetainedMessage>
  /** The number under which it was published; undefined: in an earlier run. */
  numberOf: (message: RetainedMessage) => number | undefined
  /** Resolves when the socket has taken the message. */
  send: (message: RetainedMessage, qos: number) => Promise<void>
  /** Resolves when something may be sent; whatever was queued for the session goes first. */
  begun: Promise<void>
  isOver: () => boolean
}

/** How many messages are remembered of those that are on their way to who subscribes just now. */
const rememberedMax = 1000

/**
 * What is retained, for one subscriber: one message after the other, each read when the socket has taken the one before, however
 * often it subscribes (G7). A filter that is asked for again before its turn has come has one turn.
 */
export class RetainedQueue {
  readonly #parts: RetainedParts
  readonly #asked = new Map<string, Asked>()
  #isSending = false
  /** How many messages to be retained were sent as they were published, while there is something to send. */
  #publishes = 0
  /** Their topics, each with the count when it was last published to. */
  readonly #published = new Map<string, number>()
  /** Topics whose retained message was not sent for that, with the QoS of its subscription. */
  readonly #passedOver = new Map<string, number>()
  /** Numbers of messages that were sent because they are retained. */
  readonly #sent = new Map<number, true>()

  constructor(parts: RetainedParts) {
    this.#parts = parts
  }

  /** A subscription was made. */
  ask(filter: string, qos: number): void {
    this.#asked.set(filter, { qos, after: this.#publishes })
    if (this.#isSending) return
    this.#isSending = true
    void this.#send()
  }

  /** A subscription ended. */
  forget(filter: string): void {
    this.#asked.delete(filter)
  }

  /**
   * A message that is to be retained is to be sent because it is published now: false if it was sent as a retained one, since
   * the subscription came between.
   */
  notePublished(topic: string, number: number): boolean {
    if (this.#sent.has(number)) return false
    if (this.#isSending) remember(this.#published, topic, ++this.#publishes)
    return true
  }

  /** A message that was noted is not sent after all: whoever subscribed is to have it as a retained one. */
  noteUnsent(topic: string): void {
    this.#published.delete(topic)
    const qos = this.#passedOver.get(topic)
    if (qos === undefined) return
    this.#passedOver.delete(topic)
    this.ask(topic, qos)
  }

  /** Never rejects: who cannot be sent anything is over. */
  async #send(): Promise<void> {
    const { begun, isOver } = this.#parts
    await begun
    for (const [filter, asked] of this.#asked) {
      this.#asked.delete(filter)
      if (isOver()) break
      await this.#sendFor(filter, asked).catch(() => {})
    }
    this.#isSending = false
    this.#published.clear()
  }

  async #sendFor(filter: string, { qos, after }: Asked): Promise<void> {
    const { read, numberOf, send, isOver } = this.#parts
    for await (const message of read(filter)) {
      if (isOver()) return
      // It was sent then, or one that came after it.
      if ((this.#published.get(message.topic) ?? 0) > after) {
        remember(this.#passedOver, message.topic, qos)
        continue
      }
      const number = numberOf(message)
      if (number !== undefined) remember(this.#sent, number, true)
      await send(message, Math.min(message.qos, qos))
    }
  }
}

/** A filter that has not had its turn: the QoS that was granted, and how many were published before. */
interface Asked {
  qos: number
  after: number
}

function remember<K, V>(those: Map<K, V>, one: K, value: V): void {
  // The latest is the last.
  those.delete(one)
  those.set(one, value)
  if (those.size > rememberedMax) for (const oldest of those.keys()) return void those.delete(oldest)
}
