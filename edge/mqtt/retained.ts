import type { RetainedMessage } from '../sessions/retained-level.ts'

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

/** How many numbers of messages are remembered: of those that are on their way to who subscribes just now. */
const rememberedMax = 1000

/**
 * What is retained, for one subscriber: one message after the other, each read when the socket has taken the one before, however
 * often it subscribes (G7). A filter that is asked for again before its turn has come has one turn.
 */
export class RetainedQueue {
  readonly #parts: RetainedParts
  /** With the QoS that was granted. */
  readonly #asked = new Map<string, number>()
  #isSending = false
  /** Numbers of messages that were sent as they were published, since the subscriber last asked. */
  readonly #published = new Set<number>()
  /** Numbers of those that were sent because they are retained. */
  readonly #sent = new Set<number>()

  constructor(parts: RetainedParts) {
    this.#parts = parts
  }

  /** A subscription was made. */
  ask(filter: string, qos: number): void {
    this.#asked.set(filter, qos)
    this.#published.clear()
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
  notePublished(number: number): boolean {
    if (this.#sent.has(number)) return false
    if (this.#isSending) remember(this.#published, number)
    return true
  }

  /** Never rejects: who cannot be sent anything is over. */
  async #send(): Promise<void> {
    const { begun, isOver } = this.#parts
    await begun
    for (const [filter, qos] of this.#asked) {
      this.#asked.delete(filter)
      if (isOver()) break
      await this.#sendFor(filter, qos).catch(() => {})
    }
    this.#isSending = false
    this.#published.clear()
  }

  async #sendFor(filter: string, granted: number): Promise<void> {
    const { read, numberOf, send, isOver } = this.#parts
    for await (const message of read(filter)) {
      if (isOver()) return
      const number = numberOf(message)
      if (number !== undefined) {
        if (this.#published.has(number)) continue
        remember(this.#sent, number)
      }
      await send(message, Math.min(message.qos, granted))
    }
  }
}

function remember(numbers: Set<number>, one: number): void {
  numbers.add(one)
  if (numbers.size > rememberedMax) for (const oldest of numbers.keys()) return void numbers.delete(oldest)
}
