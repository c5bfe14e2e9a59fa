import type { Clock } from '../../src/clock.ts'
import { createBook, type Book } from './book.ts'
import type { Message, Sensor } from './sensors.ts'

/** A device's connection to its gateway. Port; the adapter is fleet-mqtt.ts. */
export interface DeviceConnection {
  readonly connected: boolean
  /** Publications put on the wire, those sent again included. */
  readonly sent: number
  /**
   * Resolves when the gateway has acknowledged the message; until then it is kept and sent again over every
   * new connection. Rejects only after close().
   */
  publish(topic: string, payload: string): Promise<void>
  close(): Promise<void>
}

export interface FleetOptions {
  sensors: readonly Sensor[]
  connect: (deviceId: string) => DeviceConnection
  clock: Clock
  /** A sensor that waits for so many acknowledgements reads nothing new; default 200. */
  unacknowledgedMax?: number
}

export interface Fleet {
  readonly book: Book
  readonly devices: number
  readonly connected: number
  /** Publications beyond the first of each message, because a connection was lost before its PUBACK. */
  readonly resent: number
  /** Resolves when every sensor has nothing more to say (a replay) or has been stopped. */
  readonly finished: Promise<void>
  /** No new readings; what was published is still kept until acknowledged. Idempotent. */
  stop(): void
  /** Resolves when every message has its acknowledgement; rejects when `signal` is aborted. */
  settled(signal: AbortSignal): Promise<void>
  close(): Promise<void>
}

interface Device {
  sensor: Sensor
  connection: DeviceConnection
  unacknowledged: number
}

const tickMs = 20
const unacknowledgedMaxDefault = 200

/** Simulated sensors at work: each with its own certificate and connection, and one book for all of them. */
export function startFleet(options: FleetOptions): Fleet {
  return new WorkingFleet(options)
}

class WorkingFleet implements Fleet {
  readonly book = createBook()
  readonly finished: Promise<void>
  readonly #clock: Clock
  readonly #unacknowledgedMax: number
  readonly #devices: readonly Device[]
  readonly #startedAtMs: number
  readonly #stopping = new AbortController()
  #messages = 0
  #waiting = 0
  #onSettled: (() => void) | undefined

  constructor({ sensors, connect, clock, unacknowledgedMax = unacknowledgedMaxDefault }: FleetOptions) {
    this.#clock = clock
    this.#unacknowledgedMax = unacknowledgedMax
    this.#devices = sensors.map((sensor) => ({
      sensor,
      connection: connect(sensor.deviceId),
      unacknowledged: 0,
    }))
    this.#startedAtMs = clock.monotonicMs()
    this.finished = this.#work()
  }

  get devices(): number {
    return this.#devices.length
  }

  get connected(): number {
    return this.#devices.filter((device) => device.connection.connected).length
  }

  get resent(): number {
    const sent = this.#devices.reduce((sum, device) => sum + device.connection.sent, 0)
    return Math.max(0, sent - this.#messages)
  }

  stop(): void {
    this.#stopping.abort()
  }

  settled(signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const give = (): void => reject(signal.reason as Error)
      if (signal.aborted) return give()
      signal.addEventListener('abort', give, { once: true })
      this.#onSettled = () => {
        signal.removeEventListener('abort', give)
        resolve()
      }
      if (this.#waiting === 0) this.#onSettled()
    })
  }

  async close(): Promise<void> {
    this.#stopping.abort()
    await this.finished
    await Promise.all(this.#devices.map((device) => device.connection.close()))
  }

  async #work(): Promise<void> {
    const { signal } = this.#stopping
    while (!signal.aborted && this.#devices.some((device) => device.sensor.dueMs !== undefined)) {
      const elapsedMs = this.#clock.monotonicMs() - this.#startedAtMs
      for (const device of this.#devices) this.#readDue(device, elapsedMs)
      await this.#clock.sleep(tickMs, signal).catch(() => undefined)
    }
  }

  #readDue(device: Device, elapsedMs: number): void {
    const { sensor } = device
    while (
      sensor.dueMs !== undefined &&
      sensor.dueMs <= elapsedMs &&
      device.unacknowledged < this.#unacknowledgedMax
    ) {
      for (const message of sensor.read(this.#clock.now(), elapsedMs)) void this.#publish(device, message)
    }
  }

  async #publish(device: Device, message: Message): Promise<void> {
    const { connection, sensor } = device
    const publishedAtMs = this.#clock.monotonicMs()
    device.unacknowledged += 1
    this.#waiting += 1
    this.#messages += 1
    this.book.published(sensor.deviceId, message)
    try {
      await connection.publish(message.topic, message.payload)
      this.book.acknowledged(sensor.deviceId, message, this.#clock.monotonicMs() - publishedAtMs)
    } catch {
      // The connection was closed with the message unacknowledged, and so it stands in the book.
    }
    device.unacknowledged -= 1
    this.#waiting -= 1
    if (this.#waiting === 0) this.#onSettled?.()
  }
}
