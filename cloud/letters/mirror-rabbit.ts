import type { Clock } from '../../src/clock.ts'
import { mirrorQueue } from '../../src/contract/wire.ts'
import { atMost } from '../../src/lifecycle.ts'
import type { AmqpConnection } from '../amqp/connection-rabbit.ts'
import type { Enclosure, Letter } from '../amqp/delivery.ts'
import { openPublisher } from '../amqp/kept-publisher-rabbit.ts'
import { type Publisher, Unsendable } from '../amqp/publisher-rabbit.ts'

/** `dropped`: too many or too large to be on their way at once. */
export const mirrorResults = ['mirrored', 'dropped', 'failed'] as const

export type MirrorResult = (typeof mirrorResults)[number]

export interface MirrorOptions {
  connection: AmqpConnection
  clock: Clock
  onResult: (group: string, result: MirrorResult) => void
}

/** Copies of dead letters for other tools. A copy that does not arrive is counted; the letter is in PostgreSQL. */
export interface Mirror {
  /** Never throws, and nobody waits for it. What there is no room for is not even made. */
  copy(group: string, letter: () => Letter): void
  close(): Promise<void>
}

/** On their way at once (G7). */
const lettersMax = 1_000
const bytesMax = 33_554_432
/** Of one: RabbitMQ would close the channel, on which others are. */
const letterBytesMax = 8_388_608
const openAgainMs = 1_000
const closeTimeoutMs = 3_000

export function rabbitMirror(options: MirrorOptions): Mirror {
  return new RabbitMirror(options)
}

class RabbitMirror implements Mirror {
  readonly #options: MirrorOptions
  #opening: Promise<Publisher> | undefined
  #openedMs = -Infinity
  #letters = 0
  #bytes = 0
  #closed = false

  constructor(options: MirrorOptions) {
    this.#options = options
  }

  copy(group: string, make: () => Letter): void {
    const { onResult, connection } = this.#options
    if (this.#closed || this.#letters >= lettersMax || connection.blocked !== undefined) {
      onResult(group, 'dropped')
      return
    }
    const letter = make()
    const { length } = letter.body
    if (length > letterBytesMax || this.#bytes + length > bytesMax) {
      onResult(group, 'dropped')
      return
    }
    this.#letters++
    this.#bytes += length
    const settle = (result: MirrorResult): void => {
      this.#letters--
      this.#bytes -= length
      onResult(group, result)
    }
    this.#send(group, letter).then(
      () => settle('mirrored'),
      () => settle('failed'),
    )
  }

  async close(): Promise<void> {
    this.#closed = true
    const closing = this.#opening?.then((publisher) => publisher.close())
    await atMost(closing?.catch(() => {}) ?? Promise.resolve(), closeTimeoutMs, this.#options.clock)
  }

  async #send(group: string, letter: Letter): Promise<void> {
    const publisher = await this.#publisher()
    let fault: unknown
    for (const enclosure of [letter, ...letter.barer]) {
      try {
        return await publisher.publish(envelopeOf(group, enclosure), letter.body).proven
      } catch (error) {
        if (!(error instanceof Unsendable)) throw error
        fault = error
      }
    }
    throw fault
  }

  /** One that is over is opened anew, but not at once for each letter. */
  async #publisher(): Promise<Publisher> {
    const publisher = await this.#opening
    if (publisher && !publisher.over) return publisher
    const nowMs = this.#options.clock.monotonicMs()
    if (nowMs - this.#openedMs >= openAgainMs) {
      this.#openedMs = nowMs
      this.#opening = openPublisher(this.#options.connection)
      this.#opening.catch(() => {
        this.#opening = undefined
      })
    }
    const opened = await this.#opening
    if (opened === undefined || opened.over) throw new Error('there is no channel for it now')
    return opened
  }
}

function envelopeOf(group: string, { properties, headers }: Enclosure) {
  return { ...properties, exchange: '', routingKey: mirrorQueue(group), headers: { ...headers } }
}
