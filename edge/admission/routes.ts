import { deviceIdPattern, eventTypePattern, isSystemType } from '../../src/contract/event.ts'
import type { Lane } from '../outbox/outbox.ts'
import { filterFault, isOwnTopic } from './topics.ts'

/**
 * A route says which topics carry events and how to read them. Levels may be literal, `+`, a last `#`, or a
 * capture: `{device}` must be the publisher's identity, `{type}` is the event type, `{subject}` becomes the
 * event's subject (for bridges that speak for many sensors).
 */
export interface Route {
  topic: string
  /** The event type; only absent when the topic captures `{type}`. */
  type?: string | undefined
  /** Where a plain payload holds its event ID: `a.b` or a JSON pointer. */
  idFrom?: string | undefined
  /** Where a plain payload holds its time: RFC 3339, or seconds or ms since the Unix epoch. */
  timeFrom?: string | undefined
  /** The offset of times that come without one: `Z` or `+01:00`. */
  timeOffset?: string | undefined
  lane?: Lane | undefined
  ttl?: number | undefined
  /** Who may publish here; absent: every device (or, with `{device}`, each its own). */
  devices?: readonly string[] | undefined
}

export interface RouteMatch {
  route: CompiledRoute
  type: string
  subject?: string
}

export interface CompiledRoute extends Route {
  readonly idPath: readonly string[] | undefined
  readonly timePath: readonly string[] | undefined
}

export interface Routes {
  /** The first configured route that lets this device publish an event to this topic. */
  match(deviceId: string, topic: string): RouteMatch | undefined
}

/** Where stock clients publish; always there, after the configured ones. */
export const ownEvents: Route = { topic: 'devices/{device}/events/{type}' }

const captures = ['{device}', '{type}', '{subject}']

export function createRoutes(configured: readonly Route[]): Routes {
  const matchers = [...configured, ownEvents].map(compile)
  return {
    match(deviceId, topic) {
      // Whatever is configured, no route reaches into another device's topics or the broker's own.
      if (topic.startsWith('$') || (topic.startsWith('devices/') && !isOwnTopic(deviceId, topic)))
        return undefined
      const levels = topic.split('/')
      for (const matcher of matchers) {
        const match = matcher(deviceId, levels)
        if (match) return match
      }
      return undefined
    },
  }
}

type Matcher = (deviceId: string, levels: readonly string[]) => RouteMatch | undefined

function compile(route: Route): Matcher {
  const pattern = route.topic.split('/')
  const open = pattern.at(-1) === '#'
  const fixed = open ? pattern.length - 1 : pattern.length
  const devices = route.devices && new Set(route.devices)
  const compiled: CompiledRoute = { ...route, idPath: pathOf(route.idFrom), timePath: pathOf(route.timeFrom) }

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
      else if (wanted === '{subject}') subject = level
      else if (wanted !== level) return undefined
    }
    if (devices && !devices.has(deviceId)) return undefined
    return { route: compiled, type: type as string, ...(subject === undefined ? {} : { subject }) }
  }
}

/** Everything wrong with a route, each fault with the key it belongs to. */
export function routeFaults(route: Route): { key: keyof Route; message: string }[] {
  const faults: { key: keyof Route; message: string }[] = []
  const levels = route.topic.split('/')
  const fault = filterFault(route.topic)
  if (fault) faults.push({ key: 'topic', message: fault })
  for (const level of levels) {
    if (/[{}]/.test(level) && !captures.includes(level))
      faults.push({
        key: 'topic',
        message: `${level} is none of ${captures.join(', ')}, which are whole levels`,
      })
  }
  for (const capture of captures) {
    if (levels.filter((level) => level === capture).length > 1)
      faults.push({ key: 'topic', message: `${capture} may occur once` })
  }
  if (levels[0]?.startsWith('$')) faults.push({ key: 'topic', message: '$ topics belong to the broker' })
  if (levels[0] === 'devices' && levels[1] !== '{device}')
    faults.push({ key: 'topic', message: 'devices/<id>/… belongs to that device: write devices/{device}/…' })
  const captured = levels.includes('{type}')
  if (captured && route.type !== undefined)
    faults.push({ key: 'type', message: 'the topic captures {type} already' })
  if (!captured && route.type === undefined)
    faults.push({ key: 'type', message: 'is required unless the topic captures {type}' })
  if (route.type !== undefined && !eventTypePattern.test(route.type))
    faults.push({ key: 'type', message: 'must be a reverse-DNS event type such as com.acme.climate' })
  if (route.type !== undefined && isSystemType(route.type))
    faults.push({ key: 'type', message: 'types under dev.tidegate are the gateway’s own' })
  for (const key of ['idFrom', 'timeFrom'] as const) {
    if (route[key] !== undefined && (pathOf(route[key]) ?? ['']).includes(''))
      faults.push({ key, message: 'must be a path such as sensor.id or /sensor/id' })
  }
  if (route.timeOffset !== undefined && !/^(Z|[+-](0\d|1[0-4]):[0-5]\d)$/.test(route.timeOffset))
    faults.push({ key: 'timeOffset', message: 'must be Z or an offset such as +01:00' })
  for (const device of route.devices ?? []) {
    if (!deviceIdPattern.test(device))
      faults.push({ key: 'devices', message: `${device} is not a device ID` })
  }
  return faults
}

/** `a.b` or the JSON pointer `/a/b` (RFC 6901) as steps. */
function pathOf(text: string | undefined): readonly string[] | undefined {
  if (text === undefined) return undefined
  if (!text.startsWith('/')) return text.split('.')
  return text
    .slice(1)
    .split('/')
    .map((step) => step.replaceAll('~1', '/').replaceAll('~0', '~'))
}

/** The value at a path, own members only; undefined if there is none. */
export function valueAt(value: unknown, path: readonly string[]): unknown {
  let current = value
  for (const step of path) {
    if (typeof current !== 'object' || current === null || !Object.hasOwn(current, step)) return undefined
    current = (current as Record<string, unknown>)[step]
  }
  return current
}
