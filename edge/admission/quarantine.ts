import { createHash } from 'node:crypto'
import {
  type AuthMethod,
  type Candidate,
  deviceSource,
  eventIdPattern,
  limits,
  type PayloadFormat,
  rejectedType,
  type Rejection,
} from '../../src/contract/event.ts'
import { legible } from './text.ts'

/** Why a reading was quarantined. Stable: they are in rejected events, metrics and docs/ERRORS.md. */
export const rejectionReasons = [
  'PAYLOAD_TOO_LARGE',
  'NOT_UTF8',
  'MALFORMED_JSON',
  'MALFORMED_PAYLOAD',
  'WRITER_SCHEMA_UNKNOWN',
  'TOO_DEEP',
  'TOO_MANY_VALUES',
  'NUMBER_OUT_OF_RANGE',
  'UNSTORABLE_TEXT',
  'ENVELOPE_INVALID',
  'ID_INVALID',
  'TYPE_INVALID',
  'TYPE_FORBIDDEN',
  'SCHEMA_UNKNOWN',
  'SCHEMA_RETIRED',
  'SCHEMA_VIOLATION',
] as const

export type RejectionReason = (typeof rejectionReasons)[number]

/** What is wrong with a reading: a reason that machines count and one line that a person can act on. */
export interface Fault {
  reason: RejectionReason
  detail: string
}

export interface RejectedMessage {
  deviceId: string
  /** How it was authenticated; absent: by its certificate. */
  authMethod?: AuthMethod | undefined
  topic: string
  payload: Buffer
  /** The type it would have had. */
  type?: string | undefined
  /** The ID it claimed, if it could be read. */
  id?: string | undefined
  /** Names it if it claimed none that is one. */
  ownId: string
  /** RFC 3339; the gateway's clock. */
  time: string
  /** Of its route: the version of its type that it is of, unless it names one. */
  schemaVersion?: number | undefined
  /** How its payload was to be read; absent: as JSON. */
  format?: PayloadFormat | undefined
  /** What was read of it in that format. */
  decoded?: { value: unknown; skippedBytes: number } | undefined
}

const detailLengthMax = 500
/** A topic may have 65,535 bytes, each of which JSON may write as six (G7). */
const topicLengthMax = 256

/**
 * The event that stands for a reading which broke a rule: it takes the reading's place in the ledger (G2), so
 * that the device can be acknowledged and a poison reading does not block a sensor. One that brings an ID is known by that
 * and its payload: sent again, it is a duplicate like any other. One without is one event each time, like other readings.
 */
export function quarantine(message: RejectedMessage, fault: Fault, quarantineBytesMax: number): Candidate {
  const { deviceId, authMethod, topic, payload, type, id, ownId } = message
  const { time, schemaVersion, format, decoded } = message
  const rejection: Rejection = {
    reason: fault.reason,
    detail: legible(fault.detail, detailLengthMax),
    topic: printable(topic, topicLengthMax),
    ...(type === undefined ? {} : { type: printable(type, limits.typeLengthMax) }),
    ...(id === undefined ? {} : { id: printable(id, limits.eventIdLengthMax) }),
    ...(schemaVersion === undefined ? {} : { schemaVersion }),
    payloadBytes: payload.length,
    payload: payload.subarray(0, quarantineBytesMax).toString('base64'),
    truncated: payload.length > quarantineBytesMax,
    ...(format === undefined ? {} : { format, ...keptOf(decoded, quarantineBytesMax) }),
  }
  const hasId = id !== undefined && fault.reason !== 'ID_INVALID' && eventIdPattern.test(id)
  return {
    specversion: '1.0',
    id: `rejected-${hasId ? fingerprint(message, id) : ownId}`,
    source: deviceSource(deviceId),
    type: rejectedType,
    time,
    datacontenttype: 'application/json',
    partitionkey: deviceId,
    ...(authMethod === 'password' && { authmethod: authMethod }),
    data: rejection,
  }
}

/** What was read, for whoever has no schema to read it with; nothing of it if it is larger than a payload may be here. */
function keptOf(
  decoded: RejectedMessage['decoded'],
  bytesMax: number,
): Pick<Rejection, 'decoded' | 'skippedBytes'> {
  if (!decoded || Buffer.byteLength(JSON.stringify(decoded.value)) > bytesMax) return {}
  const { value, skippedBytes } = decoded
  return skippedBytes > 0 ? { decoded: value, skippedBytes } : { decoded: value }
}

function fingerprint({ deviceId, topic, payload }: RejectedMessage, id: string): string {
  return createHash('sha256')
    .update(JSON.stringify([deviceId, topic, id]))
    .update(payload)
    .digest('base64url')
}

/** Text that any store can keep: no control characters, no half characters; of a longer one the beginning and an ellipsis. */
function printable(text: string, lengthMax: number): string {
  const cut = text.length > lengthMax ? `${text.slice(0, lengthMax - 1)}…` : text
  // oxlint-disable-next-line no-control-regex -- control characters are what it keeps out
  return cut.replace(/[\u0000-\u001f\u007f]/g, '\ufffd').toWellFormed()
}
