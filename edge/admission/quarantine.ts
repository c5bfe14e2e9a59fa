import { createHash } from 'node:crypto'
import { type Candidate, deviceSource, rejectedType, type Rejection } from '../../src/contract/event.ts'

/** Why a reading was quarantined. Stable: they are in rejected events, metrics and docs/ERRORS.md. */
export const rejectionReasons = [
  'PAYLOAD_TOO_LARGE',
  'NOT_UTF8',
  'MALFORMED_JSON',
  'TOO_DEEP',
  'NUMBER_OUT_OF_RANGE',
  'UNSTORABLE_TEXT',
  'ENVELOPE_INVALID',
  'ID_INVALID',
  'TYPE_INVALID',
  'SCHEMA_UNKNOWN',
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
  topic: string
  payload: Buffer
  /** The type it would have had. */
  type?: string | undefined
  /** The ID it claimed, if it could be read. */
  id?: string | undefined
  /** RFC 3339; the gateway's clock. */
  time: string
}

const detailLengthMax = 500

/**
 * The event that stands for a reading which broke a rule: it takes the reading's place in the ledger (G2), so
 * that the device can be acknowledged and a poison reading does not block a sensor. Its ID is made of what was
 * received (device, topic, claimed ID, payload): sent again, it is a duplicate like any other.
 */
export function quarantine(message: RejectedMessage, fault: Fault, quarantineBytesMax: number): Candidate {
  const { deviceId, topic, payload, type, id, time } = message
  const rejection: Rejection = {
    reason: fault.reason,
    detail: printable(fault.detail).slice(0, detailLengthMax),
    topic: printable(topic),
    ...(type === undefined ? {} : { type: printable(type) }),
    ...(id === undefined ? {} : { id: printable(id) }),
    payloadBytes: payload.length,
    payload: payload.subarray(0, quarantineBytesMax).toString('base64'),
    truncated: payload.length > quarantineBytesMax,
  }
  return {
    specversion: '1.0',
    id: `rejected-${fingerprint(message)}`,
    source: deviceSource(deviceId),
    type: rejectedType,
    time,
    datacontenttype: 'application/json',
    partitionkey: deviceId,
    data: rejection,
  }
}

function fingerprint({ deviceId, topic, id, payload }: RejectedMessage): string {
  return createHash('sha256')
    .update(JSON.stringify([deviceId, topic, id ?? null]))
    .update(payload)
    .digest('base64url')
}

/** Text that any store can keep: no control characters, no half characters. */
function printable(text: string): string {
  // oxlint-disable-next-line no-control-regex -- control characters are what it keeps out
  return text.replace(/[\u0000-\u001f\u007f]/g, '\ufffd').toWellFormed()
}
