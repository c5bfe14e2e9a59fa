import { isDeepStrictEqual } from 'node:util'
import type { Route } from '../../edge/admission/routes/routes.ts'
import { dataOf, deviceEventOf } from './envelope.ts'
import type { Example, Examples } from './examples.ts'
import { type Json, present } from './json.ts'
import { freeKey } from './parts.ts'
import { formatMessagesOf } from './payload-formats.ts'
import type { Version } from './schemas.ts'
import type { Spot } from './topics.ts'

const anyVersion = '[1-9][0-9]{0,5}'

/** The forms in which a device may send an event, each a message of the document; answered are their keys. */
export class DeviceMessages {
  readonly #messages: Record<string, Json>
  readonly #examples: Examples

  /** `messages`: where they are put. */
  constructor(messages: Record<string, Json>, examples: Examples) {
    this.#messages = messages
    this.#examples = examples
  }

  /** Of a type with schemas, of which these versions are not retired. */
  of(type: string, accepted: readonly Version[], route: Route, spot: Spot): string[] {
    const which =
      route.schemaVersion === undefined
        ? accepted
        : accepted.filter(({ version }) => version === route.schemaVersion)
    const formatted = this.#formatMessages(route, type, which)
    if (formatted) return formatted
    return [
      ...which.map((version) => this.#plainMessage(version, route, spot, version === which.at(-1))),
      ...accepted.map((version) => this.#namedMessage(version, spot)),
      this.#unnamedMessage(type, which, route),
    ]
  }

  #plainMessage(version: Version, route: Route, spot: Spot, isNewest: boolean): string {
    const { key, title, name, type } = version
    const data = this.#examples.dataAt(version, route, spot)
    return this.#message(`${key}.data`, {
      title,
      summary: isNewest ? `${name}, as plain JSON` : `${name}, as plain JSON that no newer version takes`,
      contentType: 'application/json',
      payload: { $ref: `#/components/schemas/${key}` },
      examples: examplesOf('data', `${type} as plain data`, data),
      'x-tidegate-type': type,
    })
  }

  #namedMessage(version: Version, spot: Spot): string {
    const { key, title, name, type } = version
    const events = this.#examples.cloudEventsAt(version, spot)
    return this.#message(`${key}.cloudevent`, {
      title: `${title}, as a CloudEvent`,
      summary: `${name}, named by the event`,
      contentType: 'application/cloudevents+json',
      payload: deviceEventOf(type, dataOf([version]), { const: name }, ['dataschema']),
      examples: examplesOf('cloudevent', `${type} as a CloudEvent that names its version`, events),
      'x-tidegate-type': type,
    })
  }

  /** What names no version is of the route's, or of the newest that takes it. */
  #unnamedMessage(type: string, which: readonly Version[], { schemaVersion }: Route): string {
    const taken =
      schemaVersion === undefined ? 'the newest that takes it' : `version ${schemaVersion}, by its route`
    const other = { type: 'string', not: { pattern: `^${type.replaceAll('.', '\\.')}/${anyVersion}$` } }
    return this.#message(`${type}.cloudevent`, {
      title: `${type}, as a CloudEvent that names no version`,
      summary: `it is ${taken}`,
      contentType: 'application/cloudevents+json',
      payload: deviceEventOf(type, dataOf(which), other),
      'x-tidegate-type': type,
    })
  }

  /** Of a route that names a format; what was read is JSON, and is held against the versions. */
  #formatMessages(route: Route, type: string, which: readonly Version[] | undefined): string[] | undefined {
    const named = which?.map(({ name }) => name) ?? []
    const held =
      which === undefined
        ? 'nothing is checked'
        : `it is held against ${named.join(', ')}${named.length > 1 ? ': the newest that takes it' : ''}`
    return formatMessagesOf(route)?.map(({ contentType, form, payload }) =>
      this.#message(`${type}.${route.format}`, {
        title: `${type}: ${form}`,
        summary: `${form}. The gateway makes JSON of it (docs/FORMATS.md), and ${held}. What was read and has a member \`specversion\` is a CloudEvent`,
        contentType,
        payload,
        'x-tidegate-type': type,
      }),
    )
  }

  unchecked(route: Route): string[] {
    const formatted = this.#formatMessages(route, route.type ?? 'unchecked', undefined)
    if (formatted) return formatted
    const summary = 'a type without a schema: nothing is checked'
    return [
      this.#message('unchecked.data', {
        title: 'Any JSON',
        summary,
        contentType: 'application/json',
        payload: {},
      }),
      this.#message('unchecked.cloudevent', {
        title: 'Any JSON, as a CloudEvent',
        summary,
        contentType: 'application/cloudevents+json',
        payload: { $ref: '#/components/schemas/DeviceEvent' },
      }),
    ]
  }

  any(): string {
    return this.#message('anything', {
      title: 'Any bytes',
      summary: 'no event; Tidegate does not look at it',
    })
  }

  #message(key: string, message: Json): string {
    const messages = this.#messages
    const named = (name: string): Json => present({ name, ...message })
    const same = Object.keys(messages).find(
      (one) => one.startsWith(key) && isDeepStrictEqual(messages[one], named(one)),
    )
    if (same !== undefined) return same
    const free = freeKey(messages, key)
    messages[free] = named(free)
    return free
  }
}

function examplesOf(name: string, summary: string, payloads: readonly unknown[]): Example[] | undefined {
  return payloads.length === 0 ? undefined : payloads.map((payload) => ({ name, summary, payload }))
}
