import { crc32 } from 'node:zlib'
import { codeOf, TidegateError } from '../../../src/errors.ts'
import type { Lane, Queued } from '../outbox.ts'

/** An event that is about to be written. */
export interface NewEvent extends Queued {
  /** What it counts against the byte quota: its text in UTF-8. */
  bytes: number
  /** Steady clock at admission, ms. */
  admittedSteadyMs: number
  /** Steady clock at which it is worthless, ms; undefined: never. */
  deadlineSteadyMs: number | undefined
}

/**
 * Events of one lane that became durable in one write, in the order of their positions. It is written once and deleted once,
 * when the last of them has left; until then `layout/gone.ts` says which have.
 */
export interface Block {
  /** Under which it lies in the store. */
  key: string
  lane: Lane
  /** Position of its last event, by which it is found. */
  last: number
  /** Position of each of its events, ascending. Which of them an event is, is its slot. */
  positions: readonly number[]
  /** Every deadline that one of them has, by the steady clock, ms. */
  deadlines: readonly number[]
}

/** An event's place in the store. */
export interface Slot {
  block: Block
  /** Which of the block's events it is. */
  slot: number
}

/** An event as it lies in the store. */
export interface StoredEvent extends NewEvent, Slot {}

/** What stands in the place of an event. */
export interface Entry extends Slot {
  lane: Lane
  position: number
  value: string
}

/**
 * A record is one line of what the gateway needs to route, expire and count an event, then the event's text exactly as it goes
 * over the wire: `<checksum>\t<fields>\n<text>`. Reading a million of them parses no JSON. The checksum covers lane and position too:
 * LevelDB hands out altered bytes without a word. No field can hold a tab: device IDs, types and event IDs exclude control characters.
 */
export function encodeRecord(event: NewEvent): string {
  const deadline = event.deadlineSteadyMs ?? ''
  const body = `${event.deviceId}\t${event.type}\t${event.id}\t${event.sequence}\t${event.recordedAtMs}\t${event.admittedSteadyMs}\t${deadline}\n${event.text}`
  return `${checksum(event.lane, event.position, body)}\t${body}`
}

/** @throws TidegateError `STORE_CORRUPT` when it is not what was written there */
export function decodeRecord({ lane, position, value: slice, block, slot }: Entry): StoredEvent {
  // A part of a text keeps the whole of it in memory, which is the block.
  const value = Buffer.from(slice).toString()
  const start = value.indexOf('\t') + 1
  const body = value.slice(start)
  if (value.slice(0, start - 1) !== checksum(lane, position, body)) throw altered(lane, position)
  const end = body.indexOf('\n')
  const fields = body.slice(0, end).split('\t')
  const text = body.slice(end + 1)
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
    block,
    slot,
  }
}

/** The event in an entry, or what is wrong with it. */
export function readable(entry: Entry): StoredEvent | Error {
  try {
    return decodeRecord(entry)
  } catch (error) {
    if (error instanceof Error && codeOf(error) === 'STORE_CORRUPT') return error
    throw error
  }
}

export function altered(lane: Lane, position: number): TidegateError {
  return new TidegateError('STORE_CORRUPT', {
    message: `the event at position ${position} (${lane}) is not what was written there`,
    retryable: false,
    hint: 'it is set aside and counted as lost; check the health of the disk',
  })
}

function checksum(lane: Lane, position: number, body: string): string {
  const seed = (position * 2 + (lane === 'high' ? 1 : 0)) % 2 ** 32
  return crc32(body, seed).toString(36)
}
