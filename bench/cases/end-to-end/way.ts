import type { Fleet } from '../../subjects/device.ts'

/** A way from devices to where an event is at its end, with a handle on each part. */
export interface Way {
  name: string
  mqttPort: number
  fleet: Fleet
  /** CPU of all its programs but the database, µs. */
  cpuMicros(): number
  /** What arrives is counted anew from here. */
  mark(): Promise<void>
  /** Events at the end since the mark, each counted once. */
  count(): Promise<number>
  /** Events at the end since the mark, by number. */
  arrivals(): Promise<Map<number, Arrival>>
  /** For a queue beside the others: what RabbitMQ has is seen there. */
  probe: { url: string; exchange: string; routingKey: string }
  /** Where it can be hit. */
  parts: Record<'site' | 'broker' | 'end', Part>
}

export interface Arrival {
  /** Wall clock, ms since the Unix epoch, in fractions. */
  atMs: number
  times: number
}

export interface Part {
  name: string
  /** kill -9; resolves when it is gone. */
  kill(): Promise<void>
  /** Resolves when it is ready again. */
  start(): Promise<void>
}
