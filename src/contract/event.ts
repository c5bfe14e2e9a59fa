import { z } from 'zod'

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
/** An event type: reverse DNS, at least two labels. */
export const eventTypePattern = /^(?=.{3,128}$)[a-z0-9][a-z0-9_-]*(\.[a-z0-9][a-z0-9_-]*)+$/i
/** An event ID: 1–128 printable characters without spaces at the ends. */
// oxlint-disable-next-line no-control-regex -- control characters are what it keeps out
export const eventIdPattern = /^(?! )[^\u0000-\u001f\u007f\ud800-\udfff]{1,128}(?<! )$/

/**
 * An event on the wire: CloudEvents 1.0, structured JSON, with Tidegate's ledger place (docs/WIRE.md).
 * `(source, id)` identifies it, everywhere, for ever.
 */
export interface Event {
  specversion: '1.0'
  id: string
  source: string
  type: string
  subject?: string
  /** RFC 3339; the device's clock, else the gateway's at receipt; never restamped. */
  time: string
  /** RFC 3339; the gateway's clock at admission. */
  recordedtime: string
  timestatus?: TimeStatus
  datacontenttype: 'application/json'
  /** `<type>/<version>`: the schema version it was checked against at the edge; absent when unchecked. */
  dataschema?: string
  partitionkey: string
  gateway: string
  /** ULID made with the outbox: a new outbox is a new ledger. */
  epoch: string
  /** Place in the ledger, contiguous from 1 within (gateway, epoch) (G2). */
  sequence: number
  traceparent?: string
  /** RFC 3339; worthless after this. */
  expirytime?: string
  /** What the device wrote its payload in, if not in JSON. */
  payloadformat?: PayloadFormat
  /** Of that payload as it came: SHA-256, hexadecimal. */
  payloadsha256?: string
  /** Bytes of it that its schema does not know, and that are not in `data`; absent: none. */
  payloadskipped?: number
  data: unknown
  /** A person has corrected `data` for its replay (docs/CONSUMERS.md). Never on record: the text in history is as it was. */
  edited?: Edited
  /** base64url(SHA-256(previous chain ‖ this event's JSON up to here)); see codec.ts. */
  chain: string
}

/** What a device may write its payload in, besides JSON; the event's data is JSON all the same. */
export const payloadFormats = ['avro', 'protobuf', 'cbor', 'messagepack'] as const

export type PayloadFormat = (typeof payloadFormats)[number]

/** Who has corrected an event's data, when (RFC 3339), and how (RFC 6902, on `data`). */
export interface Edited {
  by: string
  at: string
  patch: readonly unknown[]
}

/**
 * Why `time` is not to be relied on; readers then prefer `recordedtime`. `implausible`: it is the device's, whose clock
 * was far from the gateway's. `unreadable`: the device gave one that cannot be read, and `time` is the gateway's at receipt.
 */
export type TimeStatus = 'implausible' | 'unreadable'

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
