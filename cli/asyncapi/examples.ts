import { createAdmission, type Admit } from '../../edge/admission/admission.ts'
import { createSchemaCheck } from '../../edge/admission/schema-check.ts'
import { pathOf, valueAt } from '../../edge/admission/codecs/paths.ts'
import { createRoutes, type Route, type Routes } from '../../edge/admission/routes/routes.ts'
import type { EdgeConfig } from '../../edge/config.ts'
import { admissionSettings } from '../../edge/settings.ts'
import type { Clock } from '../../src/clock.ts'
import { encodeCandidate, genesis, writeCandidate } from '../../src/contract/codec.ts'
import { type Candidate, type Event, rejectedType } from '../../src/contract/event.ts'
import { exampleData } from './example-data.ts'
import { isObject } from './json.ts'
import type { Schemas, Version } from './schemas.ts'
import { exampleDevice, type Spot, unknownType } from './topics.ts'

const gateway = 'gateway-1'
const exampleEpoch = '01KG8M2N3P4Q5R6S7T8V9WXYZ0'
const exampleTime = '2026-01-31T12:00:00.000Z'

/** Of one message. */
const examplesMax = 3
/** An ID has at most 128 characters. */
const keyLengthMax = 100

export interface Example {
  name: string
  summary: string
  payload: unknown
}

/** A publish as a device would make it. */
interface Published {
  topic: string
  payload: string
  deviceId: string
}

/**
 * Makes the document's examples: what devices send, as far as the real admission makes events of it at the very topic, and what those
 * are, each with its place in one ledger and its chain value. Time and chance stand still, so that the same input has the same examples.
 */
export class Examples {
  readonly epoch = exampleEpoch
  readonly #schemas: Schemas
  readonly #routes: Routes
  /** Whether it would be an event is asked of one, so that the other makes the same IDs whatever was asked. */
  readonly #probe: Admit
  readonly #admit: Admit
  /** What is shown of a version, as plain data and as a CloudEvent, by its name. */
  readonly #shown = new Map<string, { data?: Published; event?: Published }>()
  #sequence = 0
  #chain = genesis(gateway, exampleEpoch)

  constructor(schemas: Schemas, config: EdgeConfig) {
    this.#schemas = schemas
    this.#routes = createRoutes(config.routes)
    this.#probe = admissionOf(schemas, config)
    this.#admit = admissionOf(schemas, config)
  }

  /** Plain data that becomes an event of this version there. Where the route reads time and ID from it, it has them. */
  dataAt(version: Version, route: Route, spot: Spot): unknown[] {
    const found: unknown[] = []
    for (const data of exampleData(version.schema)) {
      if (found.length >= examplesMax) break
      const dated = this.#with(version, data, route.timeFrom, exampleTime)
      const named = this.#with(version, dated, route.idFrom, `example-${found.length + 1}`)
      if (this.#becomes(version, named, spot)) found.push(named)
    }
    this.#show(version, 'data', found[0], spot)
    return found
  }

  /** A CloudEvent that names the version that it follows, and becomes an event of it there. */
  cloudEventsAt(version: Version, spot: Spot): unknown[] {
    const { type, name: dataschema, key } = version
    const id = `example-${key.slice(-keyLengthMax)}`
    for (const data of exampleData(version.schema)) {
      const event = { specversion: '1.0', id, source: 'sensor', type, time: exampleTime, dataschema, data }
      if (!this.#becomes(version, event, spot)) continue
      this.#show(version, 'event', event, spot)
      return [event]
    }
    return []
  }

  /** What the gateway makes of what is shown of a version, one after the other in its ledger. */
  recordedOf({ name }: Version): Event[] {
    const { event, data } = this.#shown.get(name) ?? {}
    return [event, data].flatMap((published) => (published ? this.#recorded(published) : []))
  }

  /** The rejected event of a payload that is no JSON; undefined: another route takes its topic. */
  rejected(): Event | undefined {
    const topic = `devices/${exampleDevice}/events/${unknownType}`
    const candidate = this.#candidateOf(this.#probe, {
      deviceId: exampleDevice,
      topic,
      payload: '{"value": 21.',
    })
    if (candidate?.type !== rejectedType) return undefined
    return this.#recorded({ deviceId: exampleDevice, topic, payload: '{"value": 21.' })[0]
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

  /** A copy with a value at a path where it has none yet, if it then still conforms. */
  #with(version: Version, data: unknown, path: string | undefined, member: string): unknown {
    const steps = pathOf(path)
    if (steps === undefined || valueAt(data, steps) !== undefined) return data
    const changed = withMember(data, steps, member)
    const isTaken = this.#schemas.registry.firstFault(version.type, version.version, changed) === undefined
    return isTaken ? changed : data
  }

  #becomes({ type, name }: Version, payload: unknown, { topic, values }: Spot): boolean {
    const published = { deviceId: values.device, topic, payload: JSON.stringify(payload) }
    const candidate = this.#candidateOf(this.#probe, published)
    return candidate?.type === type && candidate.dataschema === name
  }

  /** At a device's own topic if it may, where its ID is the event's. */
  #show({ name }: Version, kind: 'data' | 'event', payload: unknown, { topic, values }: Spot): void {
    if (payload === undefined) return
    const shown = this.#shown.get(name) ?? {}
    if (shown[kind] === undefined || topic.startsWith('devices/'))
      shown[kind] = { deviceId: values.device, topic, payload: JSON.stringify(payload) }
    this.#shown.set(name, shown)
  }

  #candidateOf(admit: Admit, { deviceId, topic, payload }: Published): Candidate | undefined {
    const match = this.#routes.match(deviceId, topic)
    if (match?.action !== 'event') return undefined
    const message = { deviceId, topic, payload: Buffer.from(payload), qos: 1, match } as const
    return JSON.parse(admit(message).submission.candidate.text) as Candidate
  }

  #recorded(published: Published): Event[] {
    const match = this.#routes.match(published.deviceId, published.topic)
    if (match?.action !== 'event') return []
    const message = { ...published, payload: Buffer.from(published.payload), qos: 1, match } as const
    return [this.#placed(this.#admit(message).submission.candidate.text)]
  }

  #placed(text: string): Event {
    this.#sequence += 1
    const place = { gateway, epoch: exampleEpoch, sequence: this.#sequence, recordedtime: exampleTime }
    const encoded = encodeCandidate(text, place, this.#chain)
    this.#chain = encoded.chain
    return JSON.parse(encoded.text) as Event
  }
}

function admissionOf(schemas: Schemas, config: EdgeConfig): Admit {
  return createAdmission({
    ...admissionSettings(config),
    // Which lane an event takes is no part of it.
    highPerDevice: undefined,
    checkSchema: createSchemaCheck({
      schemas: schemas.registry,
      unknownTypes: config.schemas.unknownTypes,
    }),
    clock: { now: () => Date.parse(exampleTime) } as Clock,
    random: () => 0.5,
  })
}

/** A copy with a value at a path, if all before its last step is there. */
function withMember(value: unknown, steps: readonly string[], member: unknown): unknown {
  const copy: unknown = structuredClone(value)
  let within: unknown = copy
  for (const step of steps.slice(0, -1)) within = isObject(within) ? within[step] : undefined
  if (isObject(within)) within[steps.at(-1) as string] = member
  return copy
}
