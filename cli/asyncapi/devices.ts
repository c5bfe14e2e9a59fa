import { isDeepStrictEqual } from 'node:util'
import { ownEvents, type Route } from '../../edge/admission/routes/routes.ts'
import type { EdgeConfig } from '../../edge/config.ts'
import { type Example, exampleParameters, type Examples, type Published } from './examples.ts'
import type { Json } from './json.ts'
import { type Channel, freeKey, messagesOf, noParts, operationOn, type Parts, present } from './parts.ts'
import { pointerTo, type Schemas, standardFormat, type Version } from './schemas.ts'

/** G1, in a sentence. */
const promise =
  'At QoS 1 the PUBACK (at QoS 2 the PUBREC) means that the event is on disk, synced, in the gateway’s ledger, or that it was there under the same ID. What breaks a rule is acknowledged as well, and is on record as a rejected event with the reason. At QoS 0 nothing is promised.'

export type Routing = Pick<EdgeConfig, 'routes' | 'schemas' | 'mqtt' | 'events'>

/** What devices may publish and subscribe to: MQTT 3.1.1. */
export function deviceParts(schemas: Schemas, routing: Routing, examples: Examples): Parts {
  const parts = new DeviceParts(schemas, routing, examples)
  for (const route of [...routing.routes, ownEvents]) parts.addRoute(route)
  parts.addOwnTopics()
  for (const filter of routing.mqtt.subscribe) parts.addSubscription(filter)
  return parts.made
}

/** The publishes that the messages of a version show: as plain data, and as a CloudEvent. */
export function publishesOf(version: Version, examples: Examples): Published[] {
  const { device } = exampleParameters
  const topic = `devices/${device}/events/${version.type}`
  const event = examples.cloudEventOf(version)
  const [data] = version.isNewest ? examples.dataOf(version) : []
  return [event, data]
    .filter((payload) => payload !== undefined)
    .map((payload) => ({ deviceId: device, topic, payload: JSON.stringify(payload) }))
}

class DeviceParts {
  readonly made = noParts()
  readonly #schemas: Schemas
  readonly #routing: Routing
  readonly #examples: Examples

  constructor(schemas: Schemas, routing: Routing, examples: Examples) {
    this.#schemas = schemas
    this.#routing = routing
    this.#examples = examples
  }

  addRoute(route: Route): void {
    const { topic, type, action = 'event' } = route
    if (action !== 'event') return this.#addNoEvents(route, action)
    if (type !== undefined) return this.#addEvents(route, type)
    for (const known of this.#schemas.registry.types) this.#addEvents(route, known)
    if (this.#routing.schemas.unknownTypes === 'accept') {
      const key = this.#addChannel(topic, this.#uncheckedMessages(), {
        title: 'Events of types that have no schema',
        description: 'Any JSON; nothing is checked.',
        'x-tidegate-route': present({ ...route }),
      })
      this.#receive(key, 'Take an event of a type that has no schema', promise)
    }
  }

  addOwnTopics(): void {
    const key = this.#addChannel('devices/{device}/#', [this.#anyMessage()], {
      title: 'A device’s own topics',
      description:
        'What a device publishes here that is on no channel of events goes to whoever has subscribed, and is no event. Only the device itself may publish or subscribe.',
    })
    this.#receive(key, 'Take what is no event')
    this.#send(key, 'Hand a device what it has subscribed to')
  }

  addSubscription(filter: string): void {
    const key = this.#addChannel(filter, [this.#anyMessage()], {
      title: 'A topic that devices may subscribe to',
      description: 'Configured: mqtt.subscribe.',
    })
    this.#send(key, 'Hand a device what it has subscribed to')
  }

  #addNoEvents(route: Route, action: 'local' | 'ignore'): void {
    const says = {
      local: 'goes to subscribers, may be retained, and is no event',
      ignore: 'is acknowledged, and that is all',
    }[action]
    const key = this.#addChannel(route.topic, [this.#anyMessage()], {
      title: action === 'local' ? 'No event: for subscribers' : 'No event: ignored',
      description: `What is published here ${says}.`,
      'x-tidegate-route': present({ ...route }),
    })
    this.#receive(key, 'Take what is no event')
  }

  #addEvents(route: Route, type: string): void {
    const versions = this.#schemas.versions.filter((version) => version.type === type)
    const isChecked = versions.length > 0
    if (!isChecked && this.#routing.schemas.unknownTypes === 'reject') return
    const messages = isChecked
      ? versions.flatMap((version) => this.#versionMessages(version, route))
      : this.#uncheckedMessages()
    const lane = route.lane ?? this.#routing.events.types[type]?.lane ?? 'normal'
    const topic = route.topic.replace('{type}', type)
    const key = this.#addChannel(topic, messages, {
      title: type,
      description: `${isChecked ? (versions.at(-1)?.title ?? type) : 'It has no schema: any JSON'}. Lane: ${lane}.`,
      'x-tidegate-route': present({ ...route }),
      'x-tidegate-type': type,
    })
    this.#receive(key, `Take an event of type ${type}`, promise)
  }

  /** The newest version may come as it is; every one as a CloudEvent that names it. */
  #versionMessages(version: Version, route: Route): string[] {
    const { key, title, name, type } = version
    const event = this.#examples.cloudEventOf(version)
    const data = this.#examples.dataOf(version, route)
    const eventKey = this.#message(`${key}.cloudevent`, {
      title: `${title}, as a CloudEvent`,
      summary: `${name}, named by the event`,
      contentType: 'application/cloudevents+json',
      payload: deviceEventOf(version),
      examples: examplesOf(
        'cloudevent',
        `${type} as a CloudEvent that names its version`,
        event === undefined ? [] : [event],
      ),
    })
    if (!version.isNewest) return [eventKey]
    const plain = {
      title,
      summary: `${name}, as plain JSON`,
      contentType: 'application/json',
      payload: { $ref: `#/components/schemas/${key}` },
      examples: examplesOf('data', `${type} as plain data`, data),
    }
    // Where a route reads time or ID out of the data, an example has them.
    const isRead = route.timeFrom !== undefined || route.idFrom !== undefined
    return [this.#message(isRead ? `${key}.data.routed` : `${key}.data`, plain), eventKey]
  }

  #uncheckedMessages(): string[] {
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

  #anyMessage(): string {
    return this.#message('anything', {
      title: 'Any bytes',
      summary: 'no event; Tidegate does not look at it',
    })
  }

  #message(key: string, message: Json): string {
    const { messages } = this.made
    const named = (name: string): Json => present({ name, ...message })
    const same = Object.keys(messages).find(
      (one) => one.startsWith(key) && isDeepStrictEqual(messages[one], named(one)),
    )
    if (same !== undefined) return same
    const free = freeKey(messages, key)
    messages[free] = named(free)
    return free
  }

  #addChannel(topic: string, messages: readonly string[], more: Json): string {
    const { address, parameters } = addressOf(topic)
    const wanted = `mqtt.${topic.replaceAll(/[^\w.-]+/g, '-').replaceAll(/^-|-$/g, '') || 'any'}`
    const key = freeKey(this.made.channels, wanted)
    this.made.channels[key] = {
      address,
      servers: [{ $ref: '#/servers/gateway' }],
      ...more,
      parameters,
      messages: messagesOf(messages),
    }
    return key
  }

  #receive(key: string, summary: string, description?: string): void {
    const bindings = { mqtt: { qos: 1, retain: false, bindingVersion: '0.2.0' } }
    this.made.operations[`receive.${key}`] = operationOn(key, this.#channel(key), 'receive', {
      ...present({ summary, description }),
      bindings,
    })
  }

  #send(key: string, summary: string): void {
    this.made.operations[`send.${key}`] = operationOn(key, this.#channel(key), 'send', { summary })
  }

  #channel(key: string): Channel {
    return this.made.channels[key] as Channel
  }
}

function examplesOf(name: string, summary: string, payloads: readonly unknown[]): Example[] | undefined {
  return payloads.length === 0 ? undefined : payloads.map((payload) => ({ name, summary, payload }))
}

/** A reference leads from one dialect into another nowhere: there the data is described beside. */
function deviceEventOf(version: Version): Json {
  const data =
    version.schemaFormat === standardFormat
      ? { $ref: pointerTo(version) }
      : { description: `see the component ${version.key}` }
  const properties = { type: { const: version.type }, dataschema: { const: version.name }, data }
  return {
    schemaFormat: standardFormat,
    schema: { allOf: [{ $ref: '#/components/schemas/DeviceEvent/schema' }, { properties }] },
  }
}

const parameterTexts = {
  device: 'the identity of who publishes: the common name of its certificate',
  type: 'the event type: reverse DNS',
  subject: 'becomes the event’s subject; of several they are joined by a slash',
  level: 'any one level',
  rest: 'any levels, or none',
} as const

/** A route's topic as an address: each capture and wildcard is a parameter with a name of its own. */
export function addressOf(topic: string): { address: string; parameters: Json } {
  const parameters: Record<string, Json> = {}
  const levels = topic.split('/').map((level) => {
    const captured = /^\{(device|type|subject)\}$/.exec(level)?.[1]
    const kind = captured ?? (level === '+' ? 'level' : level === '#' ? 'rest' : undefined)
    if (kind === undefined) return level
    const name = [kind, ...Array.from({ length: 16 }, (_, index) => `${kind}${index + 2}`)].find(
      (one) => !Object.hasOwn(parameters, one),
    ) as string
    const examples = kind === 'type' ? ['com.example.reading'] : [exampleParameters[kind as 'device']]
    parameters[name] = { description: parameterTexts[kind as keyof typeof parameterTexts], examples }
    return `{${name}}`
  })
  return { address: levels.join('/'), parameters }
}
