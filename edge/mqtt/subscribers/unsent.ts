import type { Clock } from '../../../src/clock.ts'
import { TidegateError } from '../../../src/errors.ts'
import { packetIdMax } from '../../sessions/packet-ids.ts'

export interface Pause {
  /** Nothing more is read of whoever sent it until it was resumed as often as it was paused. */
  pause(): void
  resume(): void
}

/** A message for one subscriber, which its publisher waits for until `delivered` is called. */
export interface Delivery {
  qos: 0 | 1
  bytes: number
  /** The broker's number of the message: what a session's queue held and what is published are compared by it. */
  counter: number
  delivered: () => void
  /** Of the publisher's connection, which is not read while this waits. */
  pause?: Pause | undefined
}

export interface UnsentParts<D extends Delivery> {
  clock: Pick<Clock, 'after'>
  /** Hands a message on towards the socket; `sent` is called when it needs no room here any more. */
  send(delivery: D, sent: () => void): void
  /** Whether the socket has as much as it takes. */
  isSocketFull(): boolean
  /** The connection to be paused while a message waits; undefined: its publisher is gone, or is the gateway. */
  pauseOf(delivery: D): Pause | undefined
  /** A message is not sent. */
  onUnsent(delivery: D): void
}

/** What may wait to be sent to one subscriber, and one message of the greatest size more. */
const unsentBytesMax = 1 << 20
const unsentMessagesMax = 1000
/** Handed on at a time: for a session that is kept, each is written to the disk first. */
const atOnceMax = 100
const patienceMs = 5000

/**
 * What waits to be sent to one subscriber: so much and no more (G7). Beyond it publishers wait for a moment, so that a
 * subscriber that reads slowly misses nothing; then what it is not sent is told to `onUnsent`. Until its session has begun,
 * which is when all was sent that had been queued for it, everything waits, and no publisher does below those bounds.
 */
export class Unsent<D extends Delivery> {
  readonly #parts: UnsentParts<D>
  readonly #waiting: D[] = []
  #waitingBytes = 0
  /** Handed on, and their publishers not told yet. */
  readonly #sending = new Set<D>()
  /** Handed on, and not sent yet. */
  #messages = 0
  #bytes = 0
  /** A kept session's subscriptions are there before its CONNACK, and before what was queued for it is sent. */
  #begun = false
  /** What was queued just before the queue was read is published to its session too. */
  readonly #sentFromQueue = new Set<number>()
  #patience: { cancel(): void } | undefined
  /** The subscriber was waited for in vain, and has not drained since. */
  #slow = false

  constructor(parts: UnsentParts<D>) {
    this.#parts = parts
  }

  deliver(delivery: D): void {
    if (!this.#isFull()) this.#slow = false
    if (this.#slow) this.#giveUp(delivery)
    else if (this.#waiting.length === 0 && this.#hasRoom()) this.#send(delivery)
    else {
      if (this.#begun || this.#isFull()) this.#holdPublisher(delivery)
      else release(delivery)
      this.#waiting.push(delivery)
      this.#waitingBytes += delivery.bytes
      this.#proceed()
    }
  }

  /** Something of the session's queue was sent. */
  noteSentFromQueue(counter: number): void {
    if (!this.#begun) this.#sentFromQueue.add(counter)
  }

  /** All of the session's queue was sent. */
  begin(): void {
    this.#begun = true
    this.#proceed()
  }

  /** The connection is over. */
  end(): void {
    // What was queued for the session stays queued.
    if (!this.#begun) this.#empty(release)
    this.#begun = true
    this.#proceed()
  }

  /** What was handed on is on its way: publishers do not wait for a socket. */
  onItsWay(): void {
    for (const { delivered } of this.#sending) setImmediate(delivered)
    this.#sending.clear()
    this.#proceed()
  }

  #hasRoom(): boolean {
    return this.#begun && this.#sending.size < atOnceMax && !isOver(this.#messages, this.#bytes)
  }

  /** While the socket takes everything, what is unsent waits for our own disk or a turn, which pass. */
  #isFull(): boolean {
    if (!this.#begun) return isOver(this.#waiting.length, this.#waitingBytes)
    return this.#parts.isSocketFull() && isOver(this.#messages, this.#bytes)
  }

  /** aedes reads on, whatever still waits. */
  #holdPublisher(delivery: D): void {
    delivery.pause = this.#parts.pauseOf(delivery)
    delivery.pause?.pause()
  }

  #proceed(): void {
    while (this.#hasRoom()) {
      const delivery = this.#waiting.shift()
      if (!delivery) break
      this.#waitingBytes -= delivery.bytes
      if (this.#sentFromQueue.has(delivery.counter)) release(delivery)
      else this.#send(delivery)
      delivery.pause?.resume()
    }
    if (this.#begun && this.#waiting.length === 0) this.#sentFromQueue.clear()
    if (this.#waiting.length > 0 && this.#isFull()) {
      this.#patience ??= this.#parts.clock.after(patienceMs, () => this.#loseIt())
    } else {
      this.#patience?.cancel()
      this.#patience = undefined
    }
  }

  #send(delivery: D): void {
    this.#sending.add(delivery)
    this.#messages += 1
    this.#bytes += delivery.bytes
    this.#parts.send(delivery, () => {
      this.#messages -= 1
      this.#bytes -= delivery.bytes
      if (this.#sending.delete(delivery)) delivery.delivered()
      this.#proceed()
    })
  }

  #loseIt(): void {
    this.#patience = undefined
    this.#slow = true
    this.#empty((delivery) => this.#giveUp(delivery))
  }

  #empty(settle: (delivery: D) => void): void {
    this.#waitingBytes = 0
    for (const delivery of this.#waiting.splice(0)) {
      settle(delivery)
      delivery.pause?.resume()
    }
  }

  #giveUp(delivery: D): void {
    this.#parts.onUnsent(delivery)
    setImmediate(delivery.delivered)
  }
}

/** The message comes after what was kept for its subscriber, which may take long: publishers do not wait for that. */
function release(delivery: Delivery): void {
  setImmediate(delivery.delivered)
  delivery.delivered = () => {}
}

function isOver(messages: number, bytes: number): boolean {
  return messages >= unsentMessagesMax || bytes >= unsentBytesMax
}

export function unreadBy(deviceId: string): TidegateError {
  return subscriberSlow(
    `${deviceId} does not read what it subscribed to: ${unsentMessagesMax} messages or ${unsentBytesMax} bytes have waited to be sent for ${patienceMs} ms`,
    'let it read faster or subscribe to less',
  )
}

export function unacknowledgedBy(deviceId: string): TidegateError {
  return subscriberSlow(
    `${deviceId} does not acknowledge what it is sent: ${packetIdMax} messages of QoS 1 or 2 are unacknowledged, and no packet ID is left`,
    'let it answer PUBLISH with PUBACK or PUBREC and PUBREL with PUBCOMP, or subscribe at QoS 0',
  )
}

function subscriberSlow(message: string, hint: string): TidegateError {
  return new TidegateError('SUBSCRIBER_SLOW', {
    message,
    retryable: true,
    hint: `${hint}; a kept session gets what it missed when it connects again`,
  })
}
