import type { Lane } from '../../outbox/outbox.ts'
import type { Decode } from '../codecs/decode.ts'
import { pathOf } from '../codecs/paths.ts'
import type { PayloadSettings } from '../codecs/settings.ts'
import { type TimeZone, timeZoneOf } from './time-zone.ts'
import { isOwnTopic } from './topics.ts'

/** What becomes of a publish that a route takes. */
export const routeActions = ['event', 'local', 'ignore'] as const

/**
 * `event`: it is one. `local`: it goes to subscribers and may be retained, and is no event. `ignore`: it is
 * acknowledged, and that is all.
 */
export type RouteAction = (typeof routeActions)[number]

/**
 * A route says which topics a device may use and which of them carry events, and how to read those. Levels may be literal,
 * `+`, a last `#`, or a capture: `{device}` must be the publisher's identity, `{type}` is the event type, `{subject}`
 * becomes the event's subject (for bridges that speak for many sensors); of several they are joined by a slash.
 */
export interface Route extends PayloadSettings {
  topic: string
  /** Absent: `event`. */
  action?: RouteAction | undefined
  /** The event type; only absent when the topic captures `{type}`, or the action makes no events. */
  type?: string | undefined
  /** The zone of times that come without an offset: as `timeZoneOf` knows it. */
  timeOffset?: string | undefined
  /** The version of the type that its readings are of, unless they name one themselves; absent: the newest that takes them. */
  schemaVersion?: number | undefined
  lane?: Lane | undefined
  ttl?: number | undefined
  /** Who may publish here; absent: every device (or, with `{device}`, each its own). */
  devices?: readonly string[] | undefined
}

export interface EventMatch {
  action: 'event'
  route: CompiledRoute
  type: string
  subject?: string
}

export type RouteMatch = EventMatch | { action: 'local' | 'ignore' }

export interface CompiledRoute extends Route {
  readonly idPath: readonly string[] | undefined
  readonly timePath: readonly string[] | undefined
  readonly timeZone: TimeZone | undefined
  /** Reads a payload that is not JSON. */
  readonly decode?: Decode | undefined
}

export interface Routes {
  /** All of them, in the order in which they are asked. */
  readonly all: readonly Route[]
  /** Of the first route that takes what this device publishes to this topic. */
  match(deviceId: string, topic: string): RouteMatch | undefined
  /** Whether what this device publishes to this topic is to go no further. */
  ignores(deviceId: string, topic: string): boolean
}

/** Where stock clients publish; always there, after the configured ones. */
export const ownEvents: Route = { topic: 'devices/{device}/events/{type}' }

/** Where a Mosquitto bridge says that it is there, and by its will that it is gone (mosquitto.conf, `notifications`). */
const bridgeNotices = '$SYS/broker/connection/'

/** `decoders`: of the routes that name a format. */
export function createRoutes(
  configured: readonly Route[],
  decoders: ReadonlyMap<Route, Decode> = new Map(),
): Routes {
  const all = [...configured, ownEvents]
  const matchers = all.map((route) => compile(route, decoders.get(route)))
  const match: Routes['match'] = (deviceId, topic) => {
    if (topic.startsWith(bridgeNotices)) return { action: 'ignore' }
    // Whatever is configured, no route reaches into another device's topics or the broker's own.
    if (topic.startsWith('$') || (topic.startsWith('devices/') && !isOwnTopic(deviceId, topic)))
      return undefined
    const levels = topic.split('/')
    for (const matcher of matchers) {
      const match = matcher(deviceId, levels)
      if (match) return match
    }
    return undefined
  }
  const someIgnore = all.some(({ action }) => action === 'ignore')
  return {
    all,
    match,
    ignores(deviceId, topic) {
      // Asked of every publish, after it was matched once: mostly there is nothing to find.
      if (!someIgnore && !topic.startsWith(bridgeNotices)) return false
      return match(deviceId, topic)?.action === 'ignore'
    },
  }
}

type Matcher = (deviceId: string, levels: readonly string[]) => RouteMatch | undefined

function compile(route: Route, decode: Decode | undefined): Matcher {
  const pattern = route.topic.split('/')
  const open = pattern.at(-1) === '#'
  const fixed = open ? pattern.length - 1 : pattern.length
  const devices = route.devices && new Set(route.devices)
  const { action = 'event' } = route
  const compiled: CompiledRoute = {
    ...route,
    idPath: pathOf(route.idFrom),
    timePath: pathOf(route.timeFrom),
    timeZone: route.timeOffset === undefined ? undefined : timeZoneOf(route.timeOffset),
    decode,
  }

  return (deviceId, levels) => {
    if (open ? levels.length < fixed : levels.length !== fixed) return undefined
    let type = route.type
    let subject: string | undefined
    for (let index = 0; index < fixed; index += 1) {
      const wanted = pattern[index] as string
      const level = levels[index] as string
      if (wanted === '+') continue
      if (wanted === '{device}') {
        if (level !== deviceId) return undefined
      } else if (wanted === '{type}') type = level
      else if (wanted === '{subject}') subject = subject === undefined ? level : `${subject}/${level}`
      else if (wanted !== level) return undefined
    }
    if (devices && !devices.has(deviceId)) return undefined
    if (action !== 'event') return { action }
    return { action, route: compiled, type: type as string, ...(subject === undefined ? {} : { subject }) }
  }
}
