import { createRoutes, type Route, type Routes } from '../../edge/admission/routes/routes.ts'
import type { Json } from './json.ts'

const texts = {
  device: 'the identity of who publishes: the common name of its certificate',
  type: 'the event type: reverse DNS',
  subject: 'becomes the event’s subject; of several they are joined by a slash',
  level: 'any one level',
  rest: 'any levels, or none',
} as const

type Parameter = keyof typeof texts

/** What stands in an address for its parameters. */
export type Values = Readonly<Record<Parameter, string>>

/** The first is shown, unless another route takes what is published there. */
const examples: readonly Omit<Values, 'type'>[] = [
  { device: 'sensor-1', subject: 'kitchen', level: 'any', rest: 'any' },
  { device: 'sensor-1', subject: 'cellar', level: 'other', rest: 'other/one' },
  { device: 'device-2', subject: 'cellar', level: 'other', rest: 'other/one' },
]
export const unknownType = 'com.example.reading'
export const exampleDevice = 'sensor-1'

/** An example of a topic, and the values in it. */
export interface Spot {
  topic: string
  values: Values
}

interface PlacedRoute extends Route {
  place: number
}

/** Which route takes what, as the gateway itself says: the first that fits. */
export class RouteOrder {
  readonly #routes: Routes
  readonly #count: number

  constructor(configured: readonly Route[]) {
    this.#count = configured.length
    // Each as one of events, so that the answer says which one it was.
    const placed: PlacedRoute[] = configured.map((route, place) => ({
      ...route,
      action: 'event',
      type: route.type ?? unknownType,
      place,
    }))
    this.#routes = createRoutes(placed)
  }

  /** Of configured routes their index; that of a device's own events comes after them. Undefined: none. */
  placeOf(deviceId: string, topic: string): number | undefined {
    const match = this.#routes.match(deviceId, topic)
    if (match?.action !== 'event') return undefined
    return 'place' in match.route ? (match.route.place as number) : this.#count
  }

  /** Where a device publishes by the route at this place; undefined: whatever fits it an earlier one takes. */
  spotOf(place: number, route: Route, type = unknownType): Spot | undefined {
    for (const example of examples)
      for (const device of route.devices ?? [example.device]) {
        const values = { ...example, device, type }
        const topic = filled(route.topic, values)
        if (this.placeOf(device, topic) === place) return { topic, values }
      }
    return undefined
  }
}

function parameterIn(level: string): Parameter | undefined {
  if (level === '+') return 'level'
  if (level === '#') return 'rest'
  return /^\{(device|type|subject)\}$/.exec(level)?.[1] as Parameter | undefined
}

function filled(topic: string, values: Values): string {
  const levels = topic.split('/').map((level) => {
    const parameter = parameterIn(level)
    return parameter === undefined ? level : values[parameter]
  })
  return levels.join('/')
}

/** A route's topic as an address: each capture and wildcard is a parameter with a name of its own. */
export function addressOf(
  topic: string,
  values: Partial<Values> = {},
): { address: string; parameters: Record<string, Json> } {
  const parameters: Record<string, Json> = {}
  const shown = { type: unknownType, ...examples[0], ...values } as Values
  const levels = topic.split('/').map((level) => {
    const parameter = parameterIn(level)
    if (parameter === undefined) return level
    let name: string = parameter
    for (let count = 2; Object.hasOwn(parameters, name); count += 1) name = `${parameter}${count}`
    parameters[name] = { description: texts[parameter], examples: [shown[parameter]] }
    return `{${name}}`
  })
  return { address: levels.join('/'), parameters }
}
