import type { Duplex } from 'node:stream'
import { type FrameOptions, FrameReader, type Reading } from './frames.ts'
import type { SubscriptionRequest } from './requests.ts'
import type { TakenPublish } from './taken.ts'

export interface DoorOptions<Topic> extends FrameOptions<Topic> {
  /**
   * What may be read further, by what it costs; while that is nothing, TCP holds the sender back (G7). A packet is read whole
   * if any of it may be.
   */
  mayCost(): number
  /** So much was read. */
  onRead(spent: { cost: number; packets: number; bytes: number }): void
  /** What it has taken out of what was read, before the broker is given the rest. */
  onTaken(publishes: readonly TakenPublish<Topic>[]): void
  /** Nothing more is read until it resolves; if it rejects, the connection ends with that error. */
  onRequest(request: SubscriptionRequest): Promise<void>
  /** Of a CONNECT whose level nobody here speaks. The connection ends with the error once its CONNACK is sent. */
  refusalOf(level: number): Error
  /** There may be more to read. */
  onReady: () => void
}

/** Taken from the socket at once, even if little is left of a turn: a packet that is not there whole is copied. */
const bytesMin = 2048

/** CONNACK, unacceptable protocol version (MQTT 3.1.1, 3.2.2.3). */
const wrongLevel = Buffer.from([0x20, 2, 0, 1])

/**
 * The packet door: stands in front of a socket's reader, by what both have in common, `read()`, and gives it packets that are
 * such, one after the other, but for what it takes out itself. A packet that is none ends the connection, what came whole before it is handed on. SUBSCRIBE
 * and UNSUBSCRIBE are taken out and answered before anything behind them is read, so that a connection has one at a time
 * under way, and what waits lies in TCP (G7).
 */
export function guardReads<Topic>(socket: Duplex, options: DoorOptions<Topic>): void {
  const door = new Door(socket, options)
  const read = socket.read.bind(socket)
  socket.read = (size?: number): unknown => {
    // The stream itself calls read(0) to fill its buffer: that takes nothing.
    if (size === 0) return read(0)
    return door.read((bytesMax) => {
      // All of what is left is asked for without a number: a stream that has ended is over then.
      const wanted = bytesMax < socket.readableLength ? bytesMax : size
      return read(wanted) as Buffer | null
    })
  }
}

class Door<Topic> {
  readonly #socket: Duplex
  readonly #options: DoorOptions<Topic>
  readonly #reader: FrameReader<Topic>
  /** A request is being answered, or the connection is about to end. */
  #isShut = false

  constructor(socket: Duplex, options: DoorOptions<Topic>) {
    this.#socket = socket
    this.#options = options
    this.#reader = new FrameReader(options)
  }

  read(next: (bytesMax: number) => Buffer | null): Buffer | null {
    if (this.#isShut || this.#socket.destroyed) return null
    const costMax = this.#options.mayCost()
    if (costMax <= 0) return null
    const chunk = next(Math.max(costMax, bytesMin))
    if (chunk === null) return null
    const reading = this.#reader.read(chunk, costMax)
    const { taken, pass, rest } = reading
    const bytes = chunk.length - (rest?.length ?? 0)
    this.#options.onRead({ cost: reading.cost, packets: reading.packets, bytes })
    if (taken.length > 0) this.#options.onTaken(taken)
    // Given back, it keeps the stream from ending before it was read.
    if (rest) this.#socket.unshift(rest)
    this.#proceed(reading)
    return pass.length > 0 ? pass : null
  }

  #proceed({ request, refusedLevel, error }: Reading<Topic>): void {
    if (error) this.#end(error)
    else if (refusedLevel !== undefined) this.#refuse(this.#options.refusalOf(refusedLevel))
    else if (request) void this.#answer(request)
    // Who may read nothing just now is told when that is over.
    else if (this.#socket.readableLength > 0 && this.#options.mayCost() > 0)
      setImmediate(this.#options.onReady)
  }

  async #answer(request: SubscriptionRequest): Promise<void> {
    this.#isShut = true
    try {
      await this.#options.onRequest(request)
      this.#isShut = false
      // It is the others' turn: thousands of requests may lie in one chunk.
      setImmediate(this.#options.onReady)
    } catch (error) {
      this.#socket.destroy(error as Error)
    }
  }

  #end(error: Error): void {
    this.#isShut = true
    setImmediate(() => this.#socket.destroy(error))
  }

  #refuse(error: Error): void {
    this.#isShut = true
    this.#socket.write(wrongLevel, () => this.#socket.destroy(error))
  }
}
