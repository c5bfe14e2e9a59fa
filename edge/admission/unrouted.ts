import { eventTypePattern } from '../../src/contract/event.ts'
import type { Logger } from '../../src/log.ts'
import { nearestTopic } from './nearest-topic.ts'
import type { Route } from './routes.ts'
import { visible } from './text.ts'

export interface UnroutedOptions {
  routes: readonly Route[]
  log: Logger
}

/** Devices that are remembered, and topics of each: a device that makes up topics takes no other's place. */
const devicesMax = 10_000
const topicsPerDeviceMax = 8

/**
 * Tells of publishes that are acknowledged and no event, because no route takes their topic: once for each device and
 * topic, in as many words as it takes to make it one, or to say that it is meant so.
 */
export class Unrouted {
  readonly #options: UnroutedOptions
  /** By device, the one told of longest ago first. */
  readonly #told = new Map<string, Set<string>>()

  constructor(options: UnroutedOptions) {
    this.#options = options
  }

  tell(deviceId: string, topic: string): void {
    if (!this.#isNew(deviceId, topic)) return
    const { routes, log } = this.#options
    const didYouMean = nearestTopic(routes, deviceId, topic)
    const told = this.#told.get(deviceId)?.size ?? 0
    const about = {
      device: deviceId,
      topic: visible(topic, 256),
      ...(didYouMean === undefined ? {} : { didYouMean: visible(didYouMean, 256) }),
      hint: hintFor(deviceId, topic),
      ...(told < topicsPerDeviceMax ? {} : { more: 'this device’s other topics are counted, and not told' }),
    }
    const message = 'taken, and no event: no route takes its topic'
    if (didYouMean === undefined) log.info(about, message)
    else log.warn(about, message)
  }

  #isNew(deviceId: string, topic: string): boolean {
    const topics = this.#told.get(deviceId) ?? new Set<string>()
    const key = topic.slice(0, 256)
    if (topics.has(key) || topics.size >= topicsPerDeviceMax) return false
    topics.add(key)
    if (this.#told.size >= devicesMax && !this.#told.has(deviceId)) {
      const [oldest = ''] = this.#told.keys()
      this.#told.delete(oldest)
    }
    this.#told.set(deviceId, topics)
    return true
  }
}

/** A route for this topic as one would write it into the configuration. */
function hintFor(deviceId: string, topic: string): string {
  const levels = topic.split('/').map((level) => (level === deviceId ? '{device}' : level))
  const captured = eventTypePattern.test(levels.at(-1) ?? '')
  const path = (captured ? [...levels.slice(0, -1), '{type}'] : levels).join('/')
  const quoted = `'${visible(path.replaceAll("'", "''"), 256)}'`
  const kind = captured ? '' : ', type: com.example.reading'
  return `to make it an event: routes: [{ topic: ${quoted}${kind} }]; if it is not meant to be one: [{ topic: ${quoted.replace('{type}', '+')}, action: local }]`
}
