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
  connect(deviceId: string): DeviceConnection
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

/** Simulated sensors at work: each with its own certificate and connection, and one book for all of them. */
export function startFleet(options: FleetOptions): Fleet {
  const { clock, unacknowledgedMax = 200 } = options
  const book = createBook()
  const devices: Device[] = options.sensors.map((sensor) => ({
    sensor,
    connection: options.connect(sensor.deviceId),
    unacknowledged: 0,
  }))
  const startedAtMs = clock.monotonicMs()
  const stopping = new AbortController()
  let messages = 0
  let waiting = 0
  let onSettled: (() => void) | undefined

  const finished = work()

  async function work(): Promise<void> {
    while (!stopping.signal.aborted && devices.some((device) => device.sensor.dueMs !== undefined)) {
      const elapsedMs = clock.monotonicMs() - startedAtMs
      for (const device of devices) readDue(device, elapsedMs)
      await clock.sleep(tickMs, stopping.signal).catch(() => undefined)
    }
  }

  function readDue(device: Device, elapsedMs: number): void {
    const { sensor } = device
    while (
      sensor.dueMs !== undefined &&
      sensor.dueMs <= elapsedMs &&
      device.unacknowledged < unacknowledgedMax
    ) {
      for (const message of sensor.read(clock.now(), elapsedMs)) void publish(device, message)
    }
  }

  async function publish(device: Device, message: Message): Promise<void> {
    const { connection, sensor } = device
    const publishedAtMs = clock.monotonicMs()
    device.unacknowledged += 1
    waiting += 1
    messages += 1
    book.published(sensor.deviceId, message)
    try {
      await connection.publish(message.topic, message.payload)
      book.acknowledged(sensor.deviceId, message, clock.monotonicMs() - publishedAtMs)
    } catch {
      // The connection was closed with the message unacknowledged, and so it stands in the book.
    }
    device.unacknowledged -= 1
    waiting -= 1
    if (waiting === 0) onSettled?.()
  }

  return {
    book,
    devices: devices.length,
    finished,
    get connected() {
      return devices.filter((device) => device.connection.connected).length
    },
    get resent() {
      const sent = devices.reduce((sum, device) => sum + device.connection.sent, 0)
      return Math.max(0, sent - messages)
    },
    stop: () => stopping.abort(),
    settled: (signal) =>
      new Promise((resolve, reject) => {
        const give = (): void => reject(signal.reason as Error)
        if (signal.aborted) return give()
        signal.addEventListener('abort', give, { once: true })
        onSettled = () => {
          signal.removeEventListener('abort', give)
          resolve()
        }
        if (waiting === 0) onSettled()
      }),
    async close() {
      stopping.abort()
      await finished
      await Promise.all(devices.map((device) => device.connection.close()))
    },
  }
}
