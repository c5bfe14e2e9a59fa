import { eventTypePattern, isSystemType } from '../../src/contract/event.ts'
import { didYouMean } from '../../src/settings/nearest.ts'
import { type Limits, parseDuration, withinLimits } from '../../src/units.ts'

/** PostgreSQL takes 24.8 days for a session that waits in a transaction. */
export const handlerLimits = { min: '1ms', max: '24h' } satisfies Limits
/** RabbitMQ takes 49.7 days for the time to live of a message. */
/** Less is within what clocks differ by. */
const freshnessLimits = { min: '1s', max: '365d' } satisfies Limits
export const rungLimits = { min: '1ms', max: '30d' } satisfies Limits

const groupPattern = /^[a-z][a-z0-9-]{0,31}$/
const versionPattern = /^[A-Za-z0-9][A-Za-z0-9.+_-]{0,63}$/
export const typePatternPattern = /^(?=.{1,128}$)([a-z0-9_-]+|\*|#)(\.([a-z0-9_-]+|\*|#))*$/i
/** Attempts are counted up to 1,000 in a header that anybody may write. */
const rungsMax = 100

type Fault = string | false | undefined
type Check = (value: unknown) => Fault | readonly Fault[]

const batchOnly = ['dedup', 'inspect', 'recordsFaults']

/** What each key must be, where it is there. */
const checks: Readonly<Record<string, Check>> = {
  group: (value) =>
    !(typeof value === 'string' && groupPattern.test(value)) &&
    `must match ${groupPattern.source.slice(1, -1)}`,
  types: faultsOfTypes,
  events: faultsOfEvents,
  ordered: isTrueOrFalse,
  retry: (value) => {
    if (!Array.isArray(value)) return `must be a list such as ['5s', '1m'], and is ${inWords(value)}`
    const good =
      value.every((delay) => withinLimits(parseDuration(delay), rungLimits)) && value.length <= rungsMax
    return (
      !good && `must list durations such as 5s or 1m, ${rungLimits.max} at most, and no more than ${rungsMax}`
    )
  },
  timeout: (value) =>
    !withinLimits(parseDuration(value), handlerLimits) &&
    `must be a duration such as 30s, ${handlerLimits.max} at most`,
  onFailure: (value) => value !== 'park' && value !== 'overtake' && 'must be park or overtake',
  // oxlint-disable-next-line unicorn/no-thenable -- an option's name; nobody awaits a table of rules
  then: (value) => value !== 'skip' && value !== 'hold' && 'must be skip or hold',
  final: (value) => {
    const good = Array.isArray(value) && value.every((code) => typeof code === 'string' && code !== '')
    return !good && `must be a list of codes such as ['SITE_UNKNOWN']`
  },
  rate: (value) =>
    parseRate(value) === undefined && "must be events a second, such as '200/s', 1,000,000/s at most",
  concurrency: (value) =>
    !(Number.isInteger(value) && (value as number) >= 1 && (value as number) <= 64) &&
    'must be a whole number from 1 to 64',
  freshness: (value) =>
    !withinLimits(parseDuration(value), freshnessLimits) &&
    `must be a duration such as 10m, ${freshnessLimits.min} at least`,
  from: (value) =>
    value !== 'beginning' && value !== 'now' && `must be beginning or now, and is ${inWords(value)}`,
  version: (value) =>
    !(typeof value === 'string' && versionPattern.test(value)) &&
    `must be a text such as 1.4.0, and is ${inWords(value)}`,
  handle: isFunction,
  handleBatch: isFunction,
  dedup: (value) => value !== 'inbox' && value !== 'own' && 'must be inbox or own',
  inspect: isFunction,
  recordsFaults: isTrueOrFalse,
}

/** `'200/s'`, `'30/m'`, as so many a second; undefined: it is none. */
export function parseRate(value: unknown): number | undefined {
  const match = typeof value === 'string' ? /^(\d{1,7}(?:\.\d{1,3})?)\/(s|m|h)$/.exec(value) : null
  if (match === null) return undefined
  const perSecond = Number(match[1]) / { s: 1, m: 60, h: 3600 }[match[2] as 's' | 'm' | 'h']
  return perSecond > 0 && perSecond <= 1_000_000 ? perSecond : undefined
}

/** Everything that is wrong with what is to be a consumer; none if nothing is. */
export function faultsOfDefinition(given: unknown): string[] {
  if (typeof given !== 'object' || given === null)
    return [`a consumer is an object, and this is ${inWords(given)}`]
  const options = given as Readonly<Record<string, unknown>>
  const known = Object.keys(checks)
  // An instance of a class has its handler from its class; what else it has from there is its own affair.
  const there = known.filter((key) => options[key] !== undefined)
  const unknown = Object.keys(options).filter((key) => !known.includes(key) && options[key] !== undefined)
  const handlers = ['handle', 'handleBatch'].filter((key) => there.includes(key))
  return [
    ...unknown.map(
      (key) =>
        `${key} is nothing a consumer has${didYouMean(
          key,
          known.filter((each) => !there.includes(each)),
        )}`,
    ),
    !there.includes('group') && 'group is required',
    !there.includes('types') &&
      !there.includes('events') &&
      "types is required, or events: { 'com.acme.climate': 2 }",
    there.includes('types') &&
      there.includes('events') &&
      'types and events: a consumer has one of the two; with events it says which version it reads',
    handlers.length === 0 && 'handle is required: what to do with one event',
    handlers.length === 2 && 'handle and handleBatch: a consumer has one of the two',
    !there.includes('handleBatch') &&
      batchOnly.filter((key) => there.includes(key)).map((key) => `${key} is for consumers with handleBatch`),
    ...faultsOfParking(options),
    ...there.flatMap((key) =>
      [checks[key]?.(options[key])].flat().map((fault) => fault && `${key} ${fault}`),
    ),
  ]
    .flat()
    .filter((fault) => typeof fault === 'string')
}

/** Only what is in order can wait. */
function faultsOfParking({ ordered, onFailure, then }: Readonly<Record<string, unknown>>): readonly Fault[] {
  const why = ordered === false ? 'ordered: false' : onFailure === 'overtake' && 'onFailure: overtake'
  return [
    ordered === false &&
      onFailure === 'park' &&
      'onFailure: park is for ordered groups, and this has ordered: false',
    why !== false && then !== undefined && `then is for groups whose devices are parked, and this has ${why}`,
  ]
}

export function faultsOfTypes(value: unknown): Fault | readonly Fault[] {
  if (!Array.isArray(value)) return `must be a list such as ['com.acme.climate'], and is ${inWords(value)}`
  if (value.length === 0) return 'must name at least one event type pattern'
  return value.map((type: unknown) => {
    if (typeof type !== 'string') return `must hold texts, and holds ${inWords(type)}`
    if (!typePatternPattern.test(type))
      return `holds ${JSON.stringify(type)}, which is not an event type pattern`
    // Types of events are reverse-DNS names: one label alone is none, and would never come.
    return (
      /^[a-z0-9_-]+$/i.test(type) &&
      `holds ${JSON.stringify(type)}, and a type has two labels at least: com.acme.${type}`
    )
  })
}

/** The last version that a schema file can have. */
const versionMax = 999_999

export function faultsOfEvents(value: unknown): Fault | readonly Fault[] {
  const form = "an object such as { 'com.acme.climate': 2 }"
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    return `must be ${form}, and is ${inWords(value)}`
  const wanted = Object.entries(value)
  if (wanted.length === 0) return `must name at least one event type: ${form}`
  return wanted.map(([type, version]: [string, unknown]) => {
    const name = JSON.stringify(type.slice(0, 160))
    if (/[*#]/.test(type)) return `holds the pattern ${name}: patterns have no version, and need types`
    if (!eventTypePattern.test(type))
      return `holds ${name}, which is not an event type, such as com.acme.climate`
    if (isSystemType(type)) return `holds ${name}, which has no versions: name it with types`
    const good = Number.isInteger(version) && (version as number) >= 1 && (version as number) <= versionMax
    return !good && `holds ${name} with ${inWords(version)}, and a version is a whole number from 1`
  })
}

function isTrueOrFalse(value: unknown): Fault {
  return typeof value !== 'boolean' && 'must be true or false'
}

export function isFunction(value: unknown): Fault {
  return typeof value !== 'function' && `must be a function, and is ${inWords(value)}`
}

export function inWords(value: unknown): string {
  if (value === null || value === undefined) return String(value)
  if (Array.isArray(value)) return 'a list'
  if (typeof value === 'string') return `the text ${JSON.stringify(value).slice(0, 60)}`
  return typeof value === 'number' || typeof value === 'boolean'
    ? String(value)
    : `a value of type ${typeof value}`
}
