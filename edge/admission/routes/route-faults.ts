import { deviceIdPattern, eventTypePattern, isSystemType } from '../../../src/contract/event.ts'
import { pathOf } from '../codecs/paths.ts'
import { payloadFaults } from '../codecs/settings.ts'
import type { Route } from './routes.ts'
import { timeZoneOf } from './time-zone.ts'
import { filterFault } from './topics.ts'

export interface RouteFault {
  key: keyof Route
  message: string
}

/** Everything wrong with a route, each fault with the key it belongs to. */
export function routeFaults(route: Route): RouteFault[] {
  const levels = route.topic.split('/')
  const { action = 'event' } = route
  return [
    ...topicFaults(route.topic, levels),
    ...(action === 'event' ? eventFaults(route, levels) : noEventFaults(route, levels, action)),
    ...(route.devices ?? [])
      .filter((device) => !deviceIdPattern.test(device))
      .map((device) => ({ key: 'devices' as const, message: `${device} is not a device ID` })),
  ]
}

const captures = ['{device}', '{type}', '{subject}']

function topicFaults(topic: string, levels: readonly string[]): RouteFault[] {
  const messages: string[] = []
  const fault = filterFault(topic)
  if (fault) messages.push(fault)
  for (const level of levels) {
    if (/[{}]/.test(level) && !captures.includes(level))
      messages.push(`${level} is none of ${captures.join(', ')}, which are whole levels`)
  }
  for (const capture of ['{device}', '{type}']) {
    if (levels.filter((level) => level === capture).length > 1) messages.push(`${capture} may occur once`)
  }
  if (levels[0]?.startsWith('$')) messages.push('$ topics belong to the broker')
  if (levels[0] === 'devices' && levels[1] !== '{device}')
    messages.push('devices/<id>/… belongs to that device: write devices/{device}/…')
  return messages.map((message) => ({ key: 'topic', message }))
}

function eventFaults(route: Route, levels: readonly string[]): RouteFault[] {
  const faults: RouteFault[] = []
  const captured = levels.includes('{type}')
  const { type, timeOffset } = route
  if (captured && type !== undefined)
    faults.push({ key: 'type', message: 'the topic captures {type} already' })
  if (!captured && type === undefined)
    faults.push({ key: 'type', message: 'is required unless the topic captures {type}' })
  if (type !== undefined && !eventTypePattern.test(type))
    faults.push({ key: 'type', message: 'must be a reverse-DNS event type such as com.acme.climate' })
  if (type !== undefined && isSystemType(type))
    faults.push({ key: 'type', message: 'types under dev.tidegate are the gateway’s own' })
  for (const key of ['idFrom', 'timeFrom'] as const) {
    if (route[key] !== undefined && (pathOf(route[key]) ?? ['']).includes(''))
      faults.push({ key, message: 'must be a path such as sensor.id or /sensor/id' })
  }
  if (captured && route.schemaVersion !== undefined)
    faults.push({ key: 'schemaVersion', message: 'is of one type, and the topic captures {type}' })
  if (timeOffset !== undefined && !timeZoneOf(timeOffset))
    faults.push({
      key: 'timeOffset',
      message: 'must be Z, an offset such as +01:00, or an IANA time zone such as Europe/Berlin',
    })
  return [...faults, ...payloadFaults(route)]
}

const forEvents = [
  'type',
  'format',
  'schema',
  'message',
  'encoding',
  'unknown',
  'empty',
  'idFrom',
  'timeFrom',
  'timeOffset',
  'schemaVersion',
  'lane',
  'ttl',
] as const

function noEventFaults(route: Route, levels: readonly string[], action: string): RouteFault[] {
  const faults: RouteFault[] = forEvents
    .filter((key) => route[key] !== undefined)
    .map((key) => ({ key, message: `is for events, and the action here is ${action}` }))
  for (const capture of ['{type}', '{subject}']) {
    if (levels.includes(capture))
      faults.push({
        key: 'topic',
        message: `${capture} is for events, and the action here is ${action}: write +`,
      })
  }
  return faults
}
