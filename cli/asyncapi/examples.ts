import { createAdmission, type Admit } from '../../edge/admission/admission.ts'
import type { EdgeConfig } from '../../edge/config.ts'
import { createRoutes, pathOf, type Route, type Routes } from '../../edge/admission/routes/routes.ts'
import { encodeCandidate, genesis } from '../../src/contract/codec.ts'
import { type Candidate, type Event, rejectedType } from '../../src/contract/event.ts'
import { writeCandidate } from '../../src/contract/codec.ts'
import type { Clock } from '../../src/clock.ts'
import { exampleData } from './example-data.ts'
import { isObject, type Json } from './json.ts'
import type { Schemas, Version } from './schemas.ts'

/** What stands in an address for each of its parameters, in examples. */
export const exampleParameters = {
  device: 'sensor-1',
  subject: 'kitchen',
  level: 'any',
  rest: 'any',
} as const

const gateway = 'gateway-1'
const epoch = '01KG8M2N3P4Q5R6S7T8V9WXYZ0'
const exampleTime = '2026-01-31T12:00:00.000Z'

/** Of one message. */
const examplesMax = 3

export interface Example {
  name: string
  summary: string
  payload: unknown
}

/** A publish as a device would make it, and what the gateway made of it. */
export interface Published {
  topic: string
  payload: string
  deviceId: string
}

/**
 * Makes the document's examples: what devices send, held against the schema, and what the real admission makes of it, each with its place
 * in one ledger and its chain value. Time and chance stand still, so that the same input has the same examples.
 */
export class Examples {
  readonly #schemas: Schemas
  readonly #admit: Admit
  readonly #routes: Routes
  #sequence = 0
  #chain = genesis(gateway, epoch)

  constructor(schemas: Schemas, config: Pick<EdgeConfig, 'events' | 'routes' | 'schemas'>) {
    this.#schemas = schemas
    this.#routes = createRoutes(config.routes)
    const { events } = config
    this.#admit = createAdmission({
      schemas: schemas.registry,
      unknownTypes: config.schemas.unknownTypes,
      types: events.types,
      payloadBytesMax: events.payloadBytesMax,
      quarantineBytesMax: events.quarantineBytesMax,
      clockSkewMaxMs: events.clockSkewMax,
      timeAgeMaxMs: events.timeAgeMax,
      clock: { now: () => Date.parse(exampleTime) } as Clock,
      random: () => 0.5,
    })
  }

  /** Data that conforms to a version; where a route reads time and ID from it, it has them. None: none could be made. */
  dataOf(version: Version, route: Partial<Route> = {}): unknown[] {
    const conforms = (data: unknown): boolean =>
      this.#schemas.registry.faults(version.type, version.version, data).length === 0
    const found = exampleData(version.schema).filter(conforms).slice(0, examplesMax)
    return found.map((data) => {
      const dated = withMember(data, route.timeFrom, exampleTime)
      const named = withMember(conforms(dated) ? dated : data, route.idFrom, 'example-1')
      return conforms(named) ? named : data
    })
  }

  /** A CloudEvent as a device sends it, which names the version that it follows. */
  cloudEventOf(version: Version): Json | undefined {
    const [data] = this.dataOf(version)
    if (data === undefined) return undefined
    const { type, name: dataschema } = version
    const id = `example-${version.key}`
    return { specversion: '1.0', id, source: 'sensor', type, time: exampleTime, dataschema, data }
  }

  /** The texts that the gateway makes of these publishes, one after the other in its ledger; of what no route takes, none. */
  recorded(published: readonly Published[]): Event[] {
    return published.flatMap(({ deviceId, topic, payload }) => {
      const match = this.#routes.match(deviceId, topic)
      if (match?.action !== 'event') return []
      const message = { deviceId, topic, payload: Buffer.from(payload), qos: 1, match } as const
      return [this.#placed(this.#admit(message).submission.candidate.text)]
    })
  }

  /** The rejected event of a payload that is no JSON. */
  rejected(): Event | undefined {
    const topic = `devices/${exampleParameters.device}/events/com.example.reading`
    const published = { deviceId: exampleParameters.device, topic, payload: '{"value": 21.' }
    return this.recorded([published]).find(({ type }) => type === rejectedType)
  }

  /** An event that the gateway itself says. */
  ownEvent(type: string, data: unknown): Event {
    const candidate: Candidate = {
      specversion: '1.0',
      id: `example-${type}`,
      source: `/gateways/${gateway}`,
      type,
      time: exampleTime,
      datacontenttype: 'application/json',
      partitionkey: gateway,
      data,
    }
    return this.#placed(writeCandidate(candidate).text)
  }

  #placed(text: string): Event {
    this.#sequence += 1
    const place = { gateway, epoch, sequence: this.#sequence, recordedtime: exampleTime }
    const encoded = encodeCandidate(text, place, this.#chain)
    this.#chain = encoded.chain
    return JSON.parse(encoded.text) as Event
  }
}

/** A copy with a value at a path, if all before its last step is there. */
function withMember(value: unknown, path: string | undefined, member: unknown): unknown {
  const steps = pathOf(path)
  if (steps === undefined) return value
  const copy: unknown = structuredClone(value)
  let within: unknown = copy
  for (const step of steps.slice(0, -1)) within = isObject(within) ? within[step] : undefined
  if (isObject(within)) within[steps.at(-1) as string] = member
  return copy
}
