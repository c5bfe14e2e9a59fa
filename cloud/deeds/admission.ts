import { isUtf8 } from 'node:buffer'
import { hash } from 'node:crypto'
import { z } from 'zod'
import {
  deviceSource,
  type Event,
  eventIdPattern,
  eventTypePattern,
  isSystemType,
  limits,
  type PayloadFormat,
  payloadFormats,
  rejectedType,
} from '../../src/contract/event.ts'
import { envelopeIn } from '../../src/contract/sent.ts'
import { firstFitting, versionNamed } from '../../src/schemas/fitting.ts'
import { schemaName, type SchemaRegistry } from '../../src/schemas/registry.ts'
import { TidegateError } from '../../src/errors.ts'
import type { AdmitRequest } from './deeds.ts'
import type { OwnCandidate } from './own-ledger-postgres.ts'

const rejectionSchema = z.looseObject({
  type: z.string().optional(),
  id: z.string().optional(),
  schemaVersion: z.int().positive().optional(),
  payload: z.base64(),
  truncated: z.boolean(),
  format: z.enum(payloadFormats).optional(),
  decoded: z.unknown().optional(),
  skippedBytes: z.int().positive().optional(),
})

/** A payload that says it is a CloudEvent, as far as it is read here: the identity of the device is the source, as at the edge. */
const envelopeSchema = z.looseObject({
  specversion: z.literal('1.0'),
  id: z.string().regex(eventIdPattern).optional(),
  type: z.string().optional(),
  subject: z.string().min(1).max(limits.subjectLengthMax).optional(),
  time: z.iso.datetime({ offset: true }).optional(),
  dataschema: z.string().max(160).optional(),
  data: z.unknown().refine((data) => data !== undefined, 'is required'),
})

/**
 * The event that a rejected reading would have been: its device, its ID and its time. One that claimed no ID has that of its rejection,
 * so that it can be admitted once. `schemas` are those that new readings are checked against.
 * @throws TidegateError `ADMISSION_REFUSED`
 */
export function admittedReading(
  rejected: Event,
  request: AdmitRequest,
  schemas: SchemaRegistry,
): OwnCandidate {
  if (rejected.type !== rejectedType) throw refusedBecause('it is no rejected reading')
  const { data: rejection, error } = rejectionSchema.safeParse(rejected.data)
  if (error) throw refusedBecause('its rejection cannot be read')
  if (rejection.truncated) throw refusedBecause('its payload was cut at the quarantine limit')
  const bytes = Buffer.from(rejection.payload, 'base64')
  const payload = rejection.format === undefined ? parsed(bytes) : decodedOf(rejection)
  const envelope = readEnvelope(payload, rejection.format)
  const type = request.type ?? rejection.type ?? envelope?.type
  if (type === undefined || !eventTypePattern.test(type) || isSystemType(type))
    throw refusedBecause('it has no type that an event may have', 'say which: type')
  const id =
    envelope?.id ?? (eventIdPattern.test(rejection.id ?? '') ? rejection.id : undefined) ?? rejected.id
  const data = envelope ? envelope.data : payload
  // Another type has other versions.
  const byRoute = type === rejection.type ? rejection.schemaVersion : undefined
  const version = versionFor(type, versionNamed(type, envelope?.dataschema) ?? byRoute, data, schemas)
  const dataschema = version === undefined ? envelope?.dataschema : schemaName(type, version)
  const time = envelope?.time ?? request.time ?? rejected.time
  if (Number.isNaN(Date.parse(time))) throw refusedBecause('its time is none', 'say which, RFC 3339: time')
  return {
    // Its rejection has that identity itself.
    id: id === rejected.id ? `admitted-${id}`.slice(0, limits.eventIdLengthMax) : id,
    source: deviceSource(rejected.partitionkey),
    type,
    ...(envelope?.subject !== undefined && { subject: envelope.subject }),
    time,
    ...(dataschema !== undefined && { dataschema }),
    partitionkey: rejected.partitionkey,
    ...(rejected.authmethod === 'password' && { authmethod: rejected.authmethod }),
    ...(rejection.format !== undefined && {
      payloadformat: rejection.format,
      payloadsha256: hash('sha256', bytes, 'hex'),
      ...(rejection.skippedBytes !== undefined && { payloadskipped: rejection.skippedBytes }),
    }),
    data,
  }
}

/**
 * As the edge chooses: the one that it names, or else its route did, else the newest that takes it; none does: the newest, which is told why.
 * @throws TidegateError `ADMISSION_REFUSED` of one that is retired
 */
function versionFor(
  type: string,
  said: number | undefined,
  data: unknown,
  schemas: SchemaRegistry,
): number | undefined {
  const retired = schemas.retired(type)
  if (said !== undefined && retired.has(said))
    throw refusedBecause(
      `${schemaName(type, said)} is retired`,
      `the device has to be updated; or take ${said} out of retired in ${type}/type.yaml, and admit it then`,
    )
  const versions = schemas
    .versions(type)
    .filter((version) => !retired.has(version))
    .toReversed()
  return said ?? firstFitting(schemas, type, versions, data) ?? versions[0]
}

/** Only the gateway has the schemas of payloads: what it could not read there is read nowhere, and may look like JSON all the same. */
function decodedOf({ format, decoded }: z.infer<typeof rejectionSchema>): unknown {
  if (decoded !== undefined) return decoded
  throw refusedBecause(
    `its payload is ${format}, and the gateway could not read it, or it was over the quarantine limit`,
    'correct the route (format, schema) or events.quarantineBytesMax; then the device has to send it again',
  )
}

function parsed(payload: Buffer): unknown {
  try {
    if (isUtf8(payload)) return JSON.parse(payload.toString('utf8'))
  } catch {
    // Said below.
  }
  throw refusedBecause('its payload is not JSON in UTF-8')
}

function readEnvelope(
  payload: unknown,
  format: PayloadFormat | undefined,
): z.infer<typeof envelopeSchema> | undefined {
  const envelope = envelopeIn(payload, format)
  if (!envelope) return undefined
  const { data, error } = envelopeSchema.safeParse(envelope)
  if (data) return data
  const [issue] = error.issues
  throw refusedBecause(`its envelope is invalid: ${issue?.path.join('.') ?? ''}: ${issue?.message ?? ''}`)
}

function refusedBecause(
  why: string,
  hint = 'the device has to send it again, as it should be',
): TidegateError {
  return new TidegateError('ADMISSION_REFUSED', {
    message: `this reading cannot become an event: ${why}`,
    retryable: false,
    hint,
  })
}
