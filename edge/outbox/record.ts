import type { Lane, Queued } from '../outbox.ts'

/**
 * An event as it lies in the store: one line of what the gateway needs to route, expire and count it, then the
 * event's text exactly as it goes over the wire. Reading a million of them parses no JSON.
 */
export interface StoredEvent extends Queued {
  /** What it counts against the byte quota: its text in UTF-8. */
  bytes: number
  /** Steady clock at admission, ms. */
  admittedSteadyMs: number
  /** Steady clock at which it is worthless, ms; undefined: never. */
  deadlineSteadyMs: number | undefined
}

/** None of the fields can hold a tab: device IDs, types and event IDs exclude control characters. */
export function encodeRecord(event: StoredEvent): string {
  const deadline = event.deadlineSteadyMs ?? ''
  return `${event.deviceId}\t${event.type}\t${event.id}\t${event.sequence}\t${event.recordedAtMs}\t${event.admittedSteadyMs}\t${deadline}\n${event.text}`
}

export function decodeRecord(lane: Lane, position: number, value: string): StoredEvent {
  const end = value.indexOf('\n')
  const fields = value.slice(0, end).split('\t')
  const text = value.slice(end + 1)
  return {
    position,
    lane,
    deviceId: fields[0] ?? '',
    type: fields[1] ?? '',
    id: fields[2] ?? '',
    sequence: Number(fields[3]),
    recordedAtMs: Number(fields[4]),
    admittedSteadyMs: Number(fields[5]),
    deadlineSteadyMs: fields[6] ? Number(fields[6]) : undefined,
    text,
    bytes: Buffer.byteLength(text),
  }
}
