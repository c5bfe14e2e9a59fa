import { hash } from 'node:crypto'
import type { Clock } from '../../src/clock.ts'
import { eventTypePattern } from '../../src/contract/event.ts'
import type { Logger } from '../../src/log.ts'
import { createThrottle } from '../../src/throttle.ts'
import { nearestTopic } from './routes/nearest-topic.ts'
import type { Route } from './routes/routes.ts'
import { legible } from './text.ts'

export interface UnroutedOptions {
  routes: readonly Route[]
  clock: Clock
  log: Logger
}

/** Devices that are remembered, and topics of each: a device that makes up topics takes no other's place. */
const devicesMax = 10_000
const topicsPerDeviceMax = 256
/** Topics of a device that are told one by one: such as are like those of a route, and others. */
const toldMax = { alike: 64, other: 8 }
/** Of all that is not told one by one, one publish stands for those before it. */
const summaryIntervalMs = 3_600_000

/** What is known of one device. */
interface Told {
  /** Every topic that was looked at, by its hash, and whether it was told. */
  topics: Map<number, boolean>
  alike: number
  other: number
}

/**
 * Tells of publishes that are acknowledged and no event, because no route takes their topic: once for each device and
 * topic, in as many words as it takes to make it one, or to say that it is meant so; and in sum, once an hour for each
 * device, of topics for which there are too many.
 */
export class Unrouted {
  readonly #options: UnroutedOptions
  /** By device, the one first told of longest ago first. */
  readonly #told = new Map<string, Told>()
  readonly #maySum: (deviceId: string) => number | undefined

  constructor(options: UnroutedOptions) {
    this.#options = options
    this.#maySum = createThrottle(options.clock, summaryIntervalMs)
  }

  tell(deviceId: string, topic: string): void {
    const told = this.#of(deviceId)
    const key = keyOf(topic)
    if (told.topics.get(key) === true) return
    if (!told.topics.has(key) && told.topics.size < topicsPerDeviceMax) {
      const meant = nearestTopic(this.#options.routes, deviceId, topic)
      const kind = meant === undefined ? 'other' : 'alike'
      const isTold = told[kind] < toldMax[kind]
      told.topics.set(key, isTold)
      if (isTold) {
        told[kind] += 1
        return this.#tell(deviceId, topic, meant, {})
      }
    }
    const before = this.#maySum(deviceId)
    if (before === undefined) return
    const meant = nearestTopic(this.#options.routes, deviceId, topic)
    const more =
      'this device has more such topics than are told one by one: of the others one publish is told each hour'
    this.#tell(deviceId, topic, meant, { more, alikeBefore: before })
  }

  #tell(deviceId: string, topic: string, didYouMean: string | undefined, more: object): void {
    const about = {
      device: deviceId,
      topic: legible(topic, 256),
      ...(didYouMean === undefined ? {} : { didYouMean: legible(didYouMean, 256) }),
      hint: hintFor(deviceId, topic),
      ...more,
    }
    const message = 'taken, and no event: no route takes its topic'
    if (didYouMean === undefined) this.#options.log.info(about, message)
    else this.#options.log.warn(about, message)
  }

  #of(deviceId: string): Told {
    let told = this.#told.get(deviceId)
    if (told) return told
    if (this.#told.size >= devicesMax) {
      const [oldest = ''] = this.#told.keys()
      this.#told.delete(oldest)
    }
    told = { topics: new Map(), alike: 0, other: 0 }
    this.#told.set(deviceId, told)
    return told
  }
}

/** 48 bits of a hash: a topic may have 65,535 bytes, and what was cut from it would keep all of them in memory. */
function keyOf(topic: string): number {
  return hash('sha256', topic, 'buffer').readUIntBE(0, 6)
}

/** A route for this topic as one would write it into the configuration. */
function hintFor(deviceId: string, topic: string): string {
  const levels = topic.split('/').map((level) => (level === deviceId ? '{device}' : level))
  const captured = eventTypePattern.test(levels.at(-1) ?? '')
  const path = (captured ? [...levels.slice(0, -1), '{type}'] : levels).join('/')
  const quoted = `'${legible(path.replaceAll("'", "''"), 256)}'`
  const kind = captured ? '' : ', type: com.example.reading'
  return `to make it an event: routes: [{ topic: ${quoted}${kind} }]; if it is not meant to be one: [{ topic: ${quoted.replace('{type}', '+')}, action: local }]`
}
