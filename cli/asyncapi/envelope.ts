import { z } from 'zod'
import { type Event, eventSchema, limits, type Rejection } from '../../src/contract/event.ts'
import type { Json } from './json.ts'
import { pointerTo, standardFormat, type Version } from './schemas.ts'

/** What each attribute means, for whoever reads the document: docs/WIRE.md says more. */
const attributeTexts: Readonly<Record<Exclude<keyof Event, 'edited'>, string>> = {
  specversion: 'CloudEvents 1.0',
  id: 'chosen by the device, else made by the gateway; (source, id) identifies an event, for ever',
  source: '/devices/<deviceId>, the authenticated identity, or /gateways/<gateway>',
  type: 'reverse DNS',
  subject: 'what the event is about, where a device speaks for many',
  time: 'RFC 3339; the device’s clock, else the gateway’s at receipt; never restamped',
  recordedtime: 'RFC 3339; the gateway’s clock at admission',
  timestatus: 'why `time` is not to be relied on; prefer `recordedtime`',
  datacontenttype: 'always JSON',
  dataschema: '<type>/<version>: the schema version it was checked against at the edge; absent: unchecked',
  partitionkey: 'the device ID',
  gateway: 'who admitted it',
  epoch: 'ULID made with the outbox: a new outbox is a new ledger',
  sequence: 'place in the ledger, contiguous from 1 within (gateway, epoch)',
  traceparent: 'W3C Trace Context',
  expirytime: 'RFC 3339; worthless after this',
  authmethod: 'how the device was known to its gateway: password; absent: by its certificate',
  payloadformat: 'what the device wrote its payload in: avro, protobuf, cbor or messagepack; absent: JSON',
  payloadsha256: 'of that payload as it came: SHA-256, hexadecimal',
  payloadskipped: 'bytes of it that its schema does not know, and that are not in `data`; absent: none',
  data: 'the reading',
  chain: 'base64url(SHA-256(previous chain ‖ the text before this member)); always the last member',
}

/** The envelope on the exchange, made of the schema that readers hold it against. */
export function eventComponent(): Json {
  const { properties = {}, required = [] } = plainSchemaOf(eventSchema) as {
    properties?: Record<string, Json>
    required?: string[]
  }
  // Those that are not in a reader's schema are extensions to it, like others.
  const described = Object.entries(attributeTexts).map(([name, description]) => [
    name,
    { description, ...properties[name] },
  ])
  const schema = {
    title: 'Event',
    description:
      'CloudEvents 1.0, structured JSON. Other attributes (1–20 characters a-z, 0-9) may be there.',
    type: 'object',
    properties: Object.fromEntries(described),
    required: [...new Set([...required, 'data'])],
  }
  return { schemaFormat: standardFormat, schema }
}

export interface TypedEvent {
  type: string
  schema: Json
}

/** Of a type with schemas every event names the version that it was held against. */
export function eventOf(type: string, data: Json, dataschema?: string): TypedEvent {
  const checked = dataschema !== undefined && { dataschema: { const: dataschema } }
  const own = {
    properties: { type: { const: type }, ...checked, data },
    ...(checked && { required: ['dataschema'] }),
  }
  return { type, schema: { allOf: [{ $ref: '#/components/schemas/Event/schema' }, own] } }
}

/** A CloudEvent as a device may send it: what only the gateway knows is not read. */
export function deviceEventComponent(): Json {
  const schema = {
    title: 'A CloudEvent of a device',
    description:
      'A payload with a member `specversion` is taken for one. `source` is not read: the certificate says it. Up to 16 extension attributes are kept.',
    type: 'object',
    properties: {
      specversion: { const: '1.0' },
      id: text('names the event, for ever: what comes again under it is acknowledged and dropped', {
        minLength: 1,
        maxLength: limits.eventIdLengthMax,
      }),
      source: { description: 'not read' },
      type: text('if it is there, what the topic says'),
      time: text('RFC 3339; when it was measured. If it cannot be read the gateway dates the event'),
      subject: text('unless the topic says it', { minLength: 1, maxLength: limits.subjectLengthMax }),
      dataschema: text(
        '<type>/<version>: which version it follows. Absent, or another URI: the route’s, else the newest that takes it',
        { maxLength: 160 },
      ),
      datacontenttype: text('JSON'),
      traceparent: text('W3C Trace Context'),
      expirytime: text('RFC 3339, with seconds and an offset; worthless after this'),
      data: { description: 'the reading' },
    },
    required: ['specversion', 'data'],
    not: { required: ['data_base64'] },
  }
  return { schemaFormat: standardFormat, schema }
}

/** A reference leads from one dialect into another nowhere: there the data is described beside. */
export function dataOf(versions: readonly Version[]): Json {
  const isStandard = versions.every(({ schemaFormat }) => schemaFormat === standardFormat)
  if (!isStandard)
    return { description: `see ${versions.map(({ key }) => key).join(', ')} among the schemas` }
  const references = versions.map((version) => ({ $ref: pointerTo(version) }))
  return references.length === 1 ? (references[0] as Json) : { anyOf: references }
}

/** A CloudEvent of a type, as a device sends it. */
export function deviceEventOf(
  type: string,
  data: Json,
  dataschema: Json,
  required: readonly string[] = [],
): Json {
  const properties = { type: { const: type }, dataschema, data }
  const own = { properties, ...(required.length > 0 && { required }) }
  return {
    schemaFormat: standardFormat,
    schema: { allOf: [{ $ref: '#/components/schemas/DeviceEvent/schema' }, own] },
  }
}

function text(description: string, more: Json = {}): Json {
  return { type: 'string', ...more, description }
}

/** Data of a rejected event: src/contract/event.ts. */
const rejectionProperties: Readonly<Record<keyof Rejection, Json>> = {
  reason: text('stable code: docs/ERRORS.md has a line for each'),
  detail: text('one line a person can act on, with the path of each fault'),
  topic: text('at most 256 characters of it', { maxLength: 256 }),
  type: text('the type it would have had, if that is known'),
  id: text('the ID it claimed, if it could be read'),
  schemaVersion: {
    type: 'integer',
    minimum: 1,
    description: 'the version that its route names; absent: it names none',
  },
  payloadBytes: { type: 'integer', minimum: 0 },
  payload: text('as received, base64; cut at events.quarantineBytesMax'),
  truncated: { type: 'boolean' },
  format: text('how it was to be read; absent: as JSON'),
  decoded: { description: 'what was read of it in that format' },
  skippedBytes: { type: 'integer', minimum: 1, description: 'bytes of it that are not in `decoded`' },
}

export const rejectionSchema: Json = {
  type: 'object',
  properties: rejectionProperties,
  required: ['reason', 'detail', 'topic', 'payloadBytes', 'payload', 'truncated'],
}

/**
 * JSON Schema 2020-12 of what a reader of ours demands.
 * @throws Error a pattern of it has flags, which JSON Schema has not: it would say something else
 */
export function plainSchemaOf(schema: z.ZodType): Json {
  const {
    $schema: _,
    '~standard': __,
    ...document
  } = z.toJSONSchema(schema, {
    io: 'input',
    target: 'draft-2020-12',
    unrepresentable: 'any',
    override: ({ zodSchema, jsonSchema }) => {
      if (jsonSchema.format === 'date-time') delete jsonSchema.pattern
      else refuseFlags(zodSchema)
    },
  }) as Record<string, unknown>
  return document
}

function refuseFlags({ _zod: { def } }: z.core.$ZodType): void {
  for (const { _zod: check } of def.checks ?? []) {
    const { pattern } = check.def as { pattern?: RegExp }
    if (pattern && pattern.flags.replace('u', '') !== '')
      throw new Error(`${String(pattern)}: a pattern has no flags in JSON Schema`)
  }
}
