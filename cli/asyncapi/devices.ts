import { ownEvents, type Route } from '../../edge/admission/routes/routes.ts'
import type { EdgeConfig } from '../../edge/config.ts'
import { DeviceMessages } from './device-messages.ts'
import type { Examples } from './examples.ts'
import { type Json, present } from './json.ts'
import { freeKey, messagesOf, noParts, operationOn, type Parts } from './parts.ts'
import { routeShown } from './payload-formats.ts'
import type { Schemas } from './schemas.ts'
import { addressOf, exampleDevice, RouteOrder, type Spot, unknownType } from './topics.ts'

/** G1, in a sentence. */
const promise =
  'At QoS 1, which is recommended, the PUBACK (at QoS 2 the PUBREC) means that the event is on disk, synced, in the gateway’s ledger, or that it was there under the same ID. What breaks a rule is acknowledged as well, and is on record as a rejected event with the reason. At QoS 0 nothing is promised. An empty retained message takes a retained one back, and is no event.'

export type Routing = Pick<EdgeConfig, 'routes' | 'schemas' | 'mqtt' | 'events' | 'profiles'>

/** What devices may publish and subscribe to: MQTT 3.1.1. A route that takes nothing, because earlier ones do, is left out. */
export function deviceParts(schemas: Schemas, routing: Routing, examples: Examples): Parts {
  const parts = new DeviceParts(schemas, routing, examples)
  for (const [place, route] of [...routing.routes, ownEvents].entries()) parts.addRoute(place, route)
  parts.addOwnTopics()
  for (const filter of routing.mqtt.subscribe) parts.addSubscription(filter)
  return parts.made
}

class DeviceParts {
  readonly made = noParts()
  readonly #schemas: Schemas
  readonly #routing: Routing
  readonly #messages: DeviceMessages
  readonly #order: RouteOrder

  constructor(schemas: Schemas, routing: Routing, examples: Examples) {
    this.#schemas = schemas
    this.#routing = routing
    this.#messages = new DeviceMessages(this.made.messages, examples)
    this.#order = new RouteOrder(routing.routes)
  }

  addRoute(place: number, route: Route): void {
    const { type, action = 'event' } = route
    if (action !== 'event') return this.#addNoEvents(place, route, action)
    if (type !== undefined) return this.#addEvents(place, route, type)
    for (const known of this.#schemas.registry.types) this.#addEvents(place, route, known)
    if (this.#routing.schemas.unknownTypes === 'accept') this.#addUnknown(place, route)
    else this.#addRefused(place, route)
  }

  addOwnTopics(): void {
    const topic = 'devices/{device}/#'
    const key = this.#addChannel(topic, [this.#messages.any()], {
      title: 'A device’s own topics',
      description:
        'What a device publishes here that is on no channel before goes to whoever has subscribed, and is no event. Only the device itself may publish or subscribe.',
    })
    const isFree =
      this.#order.placeOf(exampleDevice, `devices/${exampleDevice}/any/other/topic`) === undefined
    if (isFree) this.#receive(key, [this.#messages.any()], 'Take what is no event')
    this.#send(key)
  }

  addSubscription(filter: string): void {
    const key = this.#addChannel(filter, [this.#messages.any()], {
      title: 'A topic that devices may subscribe to',
      description: 'Devices may subscribe here (mqtt.subscribe).',
    })
    this.#send(key)
  }

  #addNoEvents(place: number, route: Route, action: 'local' | 'ignore'): void {
    const spot = this.#order.spotOf(place, route)
    if (!spot) return
    const says = {
      local: 'goes to subscribers, may be retained, and is no event',
      ignore: 'is acknowledged, and that is all',
    }[action]
    const message = this.#messages.any()
    const key = this.#addChannel(route.topic, [message], {
      title: action === 'local' ? 'No event: for subscribers' : 'No event: ignored',
      description: `What is published here${byOf(route)} ${says}.`,
      route: routeShown(route),
      spot,
    })
    this.#receive(key, [message], 'Take what is no event')
  }

  #addUnknown(place: number, route: Route): void {
    const spot = this.#order.spotOf(place, route, this.#unknownType())
    if (!spot) return
    const messages = this.#messages.unchecked(route)
    const key = this.#addChannel(route.topic, messages, {
      title: 'Events of types that have no schema',
      description:
        `Nothing is checked. Of what is published${byOf(route)} under a level that is no event type a rejected event comes (TYPE_INVALID). ${this.#profilesSay()}`.trim(),
      route: routeShown(route),
      spot,
    })
    this.#receive(key, messages, 'Take an event of a type that has no schema', promise)
  }

  /** Said, so that no later channel seems to take it, and with no operation: there is nothing to be had here. */
  #addRefused(place: number, route: Route): void {
    const type = route.type ?? this.#unknownType()
    const spot = this.#order.spotOf(place, route, type)
    if (!spot) return
    const which = route.type === undefined ? ' of other types, or under a level that is no event type,' : ''
    this.#addChannel(route.topic, [], {
      title:
        route.type === undefined ? 'Types that have no schema: rejected' : `${type} has no schema: rejected`,
      description: `Of what is published here${byOf(route)}${which} a rejected event comes (SCHEMA_UNKNOWN${which && ', TYPE_INVALID'}).`,
      route: routeShown(route),
      spot,
    })
  }

  #addEvents(place: number, route: Route, type: string): void {
    const spot = this.#order.spotOf(place, route, type)
    if (!spot) return
    const versions = this.#schemas.versions.filter((version) => version.type === type)
    const accepted = versions.filter(({ isRetired }) => !isRetired)
    const isChecked = versions.length > 0
    if (!isChecked && this.#routing.schemas.unknownTypes === 'reject') return this.#addRefused(place, route)
    const messages = isChecked
      ? this.#messages.of(type, accepted, route, spot)
      : this.#messages.unchecked(route)
    const lane = route.lane ?? this.#routing.events.types[type]?.lane ?? 'normal'
    const says = isChecked ? (accepted.at(-1)?.title ?? type) : 'It has no schema: nothing is checked'
    const key = this.#addChannel(route.topic.replace('{type}', type), messages, {
      title: type,
      description: `${says}. ${fromOf(route)}Lane: ${lane}. ${this.#profilesSay()}`.trim(),
      route: { ...routeShown(route), type },
      spot,
    })
    this.#receive(key, messages, `Take an event of type ${type}`, promise)
  }

  /** One that no schema is of. */
  #unknownType(): string {
    const { types } = this.#schemas.registry
    return (
      [unknownType, `${unknownType}.other`].find((type) => !types.includes(type)) ?? `${unknownType}.none`
    )
  }

  #profilesSay(): string {
    const limiting = Object.entries(this.#routing.profiles).filter(([, { types }]) => types !== undefined)
    if (limiting.length === 0) return ''
    const names = limiting.map(([name]) => name).join(', ')
    return `Devices of the profiles ${names} may send the types alone that their profile allows: of others a rejected event comes (TYPE_FORBIDDEN).`
  }

  /** Of several routes with one address, such as of several devices, one channel. */
  #addChannel(topic: string, messages: readonly string[], { route, spot, ...more }: ChannelTexts): string {
    const { address, parameters } = addressOf(topic, spot?.values)
    const { channels } = this.made
    const routes = route === undefined ? [] : [route]
    const same = Object.entries(channels).find(([, one]) => one.address === address)
    if (same) {
      const [key, { description, messages: before, 'x-tidegate-routes': others = [], ...rest }] = same
      channels[key] = {
        ...rest,
        description: `${String(description)} ${more.description}`,
        messages: { ...before, ...messagesOf(messages) },
        'x-tidegate-routes': [...(others as Json[]), ...routes],
      }
      return key
    }
    const key = freeKey(
      channels,
      `mqtt.${topic.replaceAll(/[^\w.-]+/g, '-').replaceAll(/^-|-$/g, '') || 'any'}`,
    )
    channels[key] = {
      address,
      servers: [{ $ref: '#/servers/gateway' }],
      ...more,
      parameters,
      messages: messagesOf(messages),
      ...(routes.length > 0 && { 'x-tidegate-routes': routes }),
    }
    return key
  }

  /** A promise is of events: how they are best published is part of it. Nothing is asked of what is none. */
  #receive(channel: string, messages: readonly string[], summary: string, description?: string): void {
    const { operations } = this.made
    operations[freeKey(operations, `receive.${channel}`)] = operationOn(channel, messages, 'receive', {
      ...present({ summary, description }),
      ...(description !== undefined && { bindings: { mqtt: { qos: 1, bindingVersion: '0.2.0' } } }),
    })
  }

  #send(channel: string): void {
    const { operations } = this.made
    const more = { summary: 'Hand a device what it has subscribed to' }
    operations[`send.${channel}`] ??= operationOn(channel, [this.#messages.any()], 'send', more)
  }
}

interface ChannelTexts {
  title: string
  description: string
  route?: Json
  spot?: Spot
}

function byOf({ devices }: Route): string {
  return devices === undefined ? '' : ` by ${devices.join(', ')}`
}

function fromOf({ devices }: Route): string {
  return devices === undefined ? '' : `From ${devices.join(', ')} alone. `
}
