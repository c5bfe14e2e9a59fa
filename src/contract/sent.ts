import type { PayloadFormat } from './envelope.ts'

/**
 * Whether a value was sent, of what was read of a payload in this format (absent: JSON). A message has all of its fields in some
 * formats: Avro and CBOR write null where JSON leaves a member out, and in Protobuf the zero of a field is what it has when it was not
 * sent. Of such fields it would be the ID, or the time, of all readings that leave it out.
 */
export function isSent(value: unknown, format: PayloadFormat | undefined): boolean {
  if (value === undefined) return false
  if (format === undefined) return true
  return value !== null && !(format === 'protobuf' && (value === 0 || value === '0' || value === ''))
}

/** What was read of a payload, if it says that it is a CloudEvent: without the attributes that were not sent, and with its `data` as it came. */
export function envelopeIn(
  value: unknown,
  format: PayloadFormat | undefined,
): Record<string, unknown> | undefined {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return undefined
  const members = value as Record<string, unknown>
  if (!Object.hasOwn(members, 'specversion')) return undefined
  if (format === undefined) return members
  if (!isSent(members['specversion'], format)) return undefined
  return Object.fromEntries(
    Object.entries(members).filter(([name, one]) => name === 'data' || isSent(one, format)),
  )
}
