import { z } from 'zod'
import type { Event, PayloadFormat } from './envelope.ts'

export type { AuthMethod, Edited, Event, PayloadFormat } from './envelope.ts'

/** Everything in Tidegate is bounded (G7); these bounds are part of the wire contract. */
export const limits = {
  eventIdLengthMax: 128,
  deviceIdLengthMax: 64,
  typeLengthMax: 128,
  subjectLengthMax: 128,
} as const

/** A device ID: the subject CN of a client certificate; safe in topics, file names and routing keys. */
export const deviceIdPattern = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/
/** Whether a text names devices: the ID of one, or the beginning of IDs and an asterisk, which alone is every device. */
export function isDevicePattern(text: string): boolean {
  // Whatever the asterisk stands for, an ID comes of it.
  return deviceIdPattern.test(text.replace(/\*$/, 'x'))
}
/** An event type: reverse DNS, at least two labels. Without a flag: JSON Schema has none. */
export const eventTypePattern = /^(?=.{3,128}$)[A-Za-z0-9][A-Za-z0-9_-]*(\.[A-Za-z0-9][A-Za-z0-9_-]*)+$/
/** An event ID: 1–128 printable characters without spaces at the ends. */
// oxlint-disable-next-line no-control-regex -- control characters are what it keeps out
export const eventIdPattern = /^(?! )[^\u0000-\u001f\u007f\ud800-\udfff]{1,128}(?<! )$/

/** By their names in configurations. */
export const payloadFormats = [
  'avro',
  'protobuf',
  'cbor',
  'messagepack',
] as const satisfies readonly PayloadFormat[]

/** An event before it has a ledger place: what admission hands to the outbox. */
export type Candidate = Omit<Event, 'gateway' | 'epoch' | 'sequence' | 'chain' | 'recordedtime'>

/** System event types: written by the gateway itself, part of the ledger like any other event. */
export const rejectedType = 'dev.tidegate.rejected'
export const ledgerType = 'dev.tidegate.ledger'

/** Written by the cloud into a ledger of its own: what a person has done about failures, and losses that were accepted. */
export const deedType = 'dev.tidegate.deed'
export const acceptanceType = 'dev.tidegate.acceptance'
/** Likewise: ranges of ledgers that were archived and taken out of history. */
export const retiredType = 'dev.tidegate.retired'

/** In whose name the cloud writes its own ledger. No gateway may be called so: nobody else speaks in it (G9). */
export const cloudLedger = 'tidegate-cloud'

/** Whether a type, or a pattern of types, is of those that only the gateway itself may write, in whatever case. */
export function isSystemType(type: string): boolean {
  return /^dev\.tidegate(\.|$)/i.test(type)
}

/** Data of a `dev.tidegate.rejected` event: a reading that broke a rule, kept whole with the reason. */
export interface Rejection {
  /** Stable code: `MALFORMED_JSON`, `SCHEMA_VIOLATION`, `PAYLOAD_TOO_LARGE`, … */
  reason: string
  /** One line a person can act on, with the path of each fault. */
  detail: string
  /** At most 256 characters of it. */
  topic: string
  /** The type it would have had, if that is known; at most 128 characters of it. */
  type?: string
  /** The ID it claimed, if it could be read. */
  id?: string
  /** The version of its type that its route says it is of; absent: none. */
  schemaVersion?: number
  payloadBytes: number
  /** The payload as received, base64; cut at the quarantine limit. */
  payload: string
  truncated: boolean
  /** How it was to be read, as an event's `payloadformat`; absent: as JSON. */
  format?: PayloadFormat
  /** What was read of it in that format, as JSON; absent: nothing could be, or it is over the quarantine limit. */
  decoded?: unknown
  /** Bytes that are not in it, as an event's `payloadskipped`. */
  skippedBytes?: number
}

/** Why a numbered event was not delivered (G2). */
export const undeliveredReasons = ['expired', 'evicted', 'lost'] as const

export type Undelivered = (typeof undeliveredReasons)[number]

/** Data of a `dev.tidegate.ledger` event: what the cloud must know so that its account closes (G8). */
export type LedgerEntry =
  /** These sequences will never arrive, and why. What arrived all the same counts as present. */
  | { kind: 'undelivered'; epoch: string; ranges: LedgerRange[] }
  /** `recordedtime` of these sequences was taken from a clock that was `offsetMs` behind what it is now. */
  | { kind: 'clock-corrected'; epoch: string; from: number; to: number; offsetMs: number }
  /** A damaged outbox was replaced: the old epoch ends at or after `lastSequence`. */
  | { kind: 'epoch-closed'; epoch: string; lastSequence: number; reason: 'corruption' | 'renamed' }

export interface LedgerRange {
  from: number
  to: number
  reason: Undelivered
  /** The chain value of `to`, so that the hash chain can be followed across the gap; absent if it was lost. */
  chain?: string
}

const timestamp = z.iso.datetime({ offset: true })

/** The envelope as a reader must find it. Unknown extension attributes are allowed (CloudEvents 1.0, 3.1). */
export const eventSchema = z.looseObject({
  specversion: z.literal('1.0'),
  id: z.string().regex(eventIdPattern),
  source: z.string().regex(/^\/(devices|gateways)\/[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/),
  type: z.string().regex(eventTypePattern),
  subject: z.string().min(1).max(limits.subjectLengthMax).optional(),
  time: timestamp,
  recordedtime: timestamp,
  timestatus: z.enum(['implausible', 'unreadable']).optional(),
  datacontenttype: z.literal('application/json'),
  dataschema: z.string().max(160).optional(),
  partitionkey: z.string().regex(deviceIdPattern),
  gateway: z.string().regex(deviceIdPattern),
  epoch: z.string().regex(/^[0-9A-HJKMNP-TV-Z]{26}$/),
  sequence: z.int().min(1),
  traceparent: z.string().max(64).optional(),
  expirytime: timestamp.optional(),
  data: z.unknown(),
  chain: z.string().regex(/^[A-Za-z0-9_-]{43}$/),
})

/** The identity of an event as one string; a newline cannot occur in either part. */
export function eventKey(event: { source: string; id: string }): string {
  return `${event.source}\n${event.id}`
}

export function deviceSource(deviceId: string): string {
  return `/devices/${deviceId}`
}
