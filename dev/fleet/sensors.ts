import type { Random } from '../../src/clock.ts'
import { eventId, normal, seededRandom } from './random.ts'

/** Where the documentation says a message ends. */
export type Fate =
  /** In the history, once. */
  | 'stored'
  /** In the history, marked `timestatus: implausible`. */
  | 'implausible'
  /** Dropped at the edge: its ID is there already. */
  | 'repeat'
  /** Quarantined: in the history as a rejected event, with its reason. */
  | 'rejected'

export interface Message {
  topic: string
  payload: string
  fate: Fate
  /** `eventId(run, deviceId, n)` is its ID; absent where the payload is too broken to carry one. */
  n?: number
  /** Its ID is one within its topic, as the edge takes what is no CloudEvent. */
  idWithinTopic?: true
}

/** A simulated device: says when its next reading is due and what it then publishes. */
export interface Sensor {
  readonly deviceId: string
  /** What it does wrong on purpose. */
  readonly trouble?: Trouble
  /** Ms from the start of the run; undefined: it has nothing more to say. */
  readonly dueMs: number | undefined
  /** The messages of the reading that is due; moves on to the next. Empty while it has nothing to report. */
  read(nowMs: number, elapsedMs: number): Message[]
}

export const demoTypes = {
  climate: 'com.tidegate.demo.climate',
  power: 'com.tidegate.demo.power',
  vibration: 'com.tidegate.demo.vibration',
  alarm: 'com.tidegate.demo.alarm',
  series: 'com.tidegate.demo.series',
} as const

/** Power meters speak their own topic and shape; a route of the generated edge configuration reads it. */
const powerTopic = (deviceId: string): string => `tele/${deviceId}/SENSOR`

interface SensorOptions {
  /** Unique to the run: the same seed gives the same readings, never the same event IDs. */
  run: string
  seed: number
  deviceId: string
  periodMs: number
}

const kinds = ['climate', 'power', 'vibration'] as const

/** Sensors that behave, `sensor-001` on: every third measures climate, power and vibration. */
export function ordinarySensors(options: {
  run: string
  seed: number
  count: number
  eventsPerSecond: number
}): Sensor[] {
  const { run, seed, count, eventsPerSecond } = options
  const periodMs = (count / eventsPerSecond) * 1000
  return ordinaryIds(count).map((deviceId, index) => {
    const kind = kinds[index % kinds.length] ?? 'climate'
    return steady({ run, seed, deviceId, periodMs }, (index / count) * periodMs, measuring[kind])
  })
}

export function ordinaryIds(count: number): string[] {
  return Array.from({ length: count }, (_, index) => `sensor-${String(index + 1).padStart(3, '0')}`)
}

interface Reading {
  random: Random
  deviceId: string
  nowMs: number
  /** Takes the next number and its ID. */
  next: () => { n: number; id: string }
}

type Measure = (random: Random) => (reading: Reading) => Message[]

const measuring: Record<(typeof kinds)[number], Measure> = {
  climate(random) {
    let drift = 0
    const base = 17 + 8 * random()
    return (reading) => {
      drift = 0.98 * drift + 0.1 * normal(random)
      const hour = (reading.nowMs / 3_600_000) % 24
      const temperature = round(base + 3 * Math.sin(((hour - 9) / 12) * Math.PI) + drift, 2)
      const humidity = round(clamp(62 - 1.4 * (temperature - base) + normal(random), 0, 100), 1)
      return [cloudEvent(reading, demoTypes.climate, { temperature, humidity })]
    }
  },
  power(random) {
    let watts = 200 + 800 * random()
    return (reading) => {
      if (random() < 0.02) watts = 200 + 1800 * random()
      const { n, id } = reading.next()
      const payload = {
        Time: new Date(reading.nowMs).toISOString(),
        Id: id,
        watts: round(watts + 5 * normal(random), 1),
        volts: round(230 + normal(random), 1),
      }
      return [
        {
          topic: powerTopic(reading.deviceId),
          payload: JSON.stringify(payload),
          fate: 'stored' as const,
          n,
          idWithinTopic: true as const,
        },
      ]
    }
  },
  vibration(random) {
    return (reading) => {
      const rms = round(Math.abs(1.2 + 0.3 * normal(random)) + (random() < 0.02 ? 6 : 0), 3)
      const peak = round(rms * (2.5 + random()), 3)
      const messages = [cloudEvent(reading, demoTypes.vibration, { rms, peak })]
      if (rms > 6) {
        messages.push(cloudEvent(reading, demoTypes.alarm, { severity: 'warning', code: 'VIBRATION', rms }))
      }
      return messages
    }
  },
}

/** What six sensors do wrong on purpose, and where each of their messages must end. */
export const troubles = ['malformed', 'schema', 'repeat', 'oversize', 'past', 'fahrenheit'] as const
export type Trouble = (typeof troubles)[number]

export function troubleId(trouble: Trouble): string {
  return `trouble-${trouble}`
}

/** 300 KB: above the edge's limit, below what would end the connection. */
const oversizeBytes = 300_000

const misdeeds: Record<Trouble, (reading: Reading) => Message[]> = {
  // Each one another text: sent again, it is a second event, and known by its text to be the same reading.
  malformed: ({ deviceId, next }) => [
    {
      topic: `devices/${deviceId}/events/${demoTypes.climate}`,
      payload: `{"id":"${next().id}","temperature":21.5,"humidity":`,
      fate: 'rejected',
    },
  ],
  schema: (reading) => [
    rejected(cloudEvent(reading, demoTypes.climate, { temperature: 'warm', humidity: 140 })),
  ],
  repeat(reading) {
    const message = cloudEvent(reading, demoTypes.climate, { temperature: 20, humidity: 50 })
    return [message, { ...message, fate: 'repeat' }]
  },
  oversize: (reading) => [
    rejected(
      cloudEvent(reading, demoTypes.climate, {
        temperature: 20,
        humidity: 50,
        note: 'x'.repeat(oversizeBytes),
      }),
    ),
  ],
  past: (reading) => [
    {
      ...cloudEvent({ ...reading, nowMs: reading.nowMs % 3_600_000 }, demoTypes.climate, {
        temperature: 20,
        humidity: 50,
      }),
      fate: 'implausible',
    },
  ],
  // 20 °C and a bit: the schema cannot know, and a consumer that looks closer has a dead letter of each.
  fahrenheit: (reading) => [cloudEvent(reading, demoTypes.climate, { temperature: 68.4, humidity: 50 })],
}

export function troubleSensors(options: { run: string; seed: number; periodMs: number }): Sensor[] {
  return troubles.map((trouble, index) => {
    const sensor = steady(
      { ...options, deviceId: troubleId(trouble) },
      ((index + 0.5) / troubles.length) * options.periodMs,
      () => misdeeds[trouble],
    )
    return Object.assign(sensor, { trouble })
  })
}

/** A rejected message keeps no number: the gateway gives the rejection an identity of its own. */
function rejected({ topic, payload }: Message): Message {
  return { topic, payload, fate: 'rejected' }
}

/** After a standstill a sensor catches up with this much of what it missed, and forgets the rest. */
const catchUpMsMax = 10_000

function steady(options: SensorOptions, phaseMs: number, measure: Measure): Sensor {
  const { run, seed, deviceId, periodMs } = options
  const random = seededRandom(seed, deviceId)
  const messagesOf = measure(random)
  let n = 0
  let dueMs = phaseMs
  return {
    deviceId,
    get dueMs() {
      return dueMs
    },
    read(nowMs, elapsedMs) {
      dueMs = Math.max(dueMs + periodMs, elapsedMs - catchUpMsMax)
      const next = (): { n: number; id: string } => {
        n += 1
        return { n, id: eventId(run, deviceId, n) }
      }
      return messagesOf({ random, deviceId, nowMs, next })
    },
  }
}

/** A CloudEvent in structured JSON, as a device publishes it: the gateway adds the rest. */
function cloudEvent(reading: Reading, type: string, data: object): Message {
  const { n, id } = reading.next()
  const time = new Date(reading.nowMs).toISOString()
  const event = { specversion: '1.0', id, source: `/devices/${reading.deviceId}`, type, time, data }
  return {
    topic: `devices/${reading.deviceId}/events/${type}`,
    payload: JSON.stringify(event),
    fate: 'stored',
    n,
  }
}

const round = (value: number, digits: number): number => Number(value.toFixed(digits))
const clamp = (value: number, min: number, max: number): number => Math.min(max, Math.max(min, value))
