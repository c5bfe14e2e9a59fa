import { z } from 'zod'
import { type Event, eventSchema, limits } from '../../src/contract/event.ts'
import type { Json } from './json.ts'
import { standardFormat } from './schemas.ts'

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
  data: 'the reading',
  chain: 'base64url(SHA-256(previous chain ‖ the text before this member)); always the last member',
}

/** The envelope on the exchange, made of the schema that readers hold it against. */
export function eventComponent(): Json {
  const { properties = {}, required = [] } = plainSchemaOf(eventSchema) as {
    properties?: Record<string, Json>
    required?: string[]
  }
  const described = Object.entries(properties).map(([name, one]) => [
    name,
    { description: attributeTexts[name as keyof typeof attributeTexts], ...one },
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
      dataschema: text('<type>/<version>: which version it follows; default: the newest', { maxLength: 160 }),
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

function text(description: string, more: Json = {}): Json {
  return { type: 'string', ...more, description }
}

/** JSON Schema 2020-12 of what a reader of ours demands. */
export function plainSchemaOf(schema: z.ZodType): Json {
  const {
    $schema: _,
    '~standard': __,
    ...document
  } = z.toJSONSchema(schema, {
    io: 'input',
    target: 'draft-2020-12',
    unrepresentable: 'any',
    override: ({ jsonSchema }) => {
      if (jsonSchema.format === 'date-time') delete jsonSchema.pattern
    },
  }) as Record<string, unknown>
  return document
}
