import { crc32 } from 'node:zlib'
import { eventKey } from './keys.ts'
import { altered, type Block, encodeRecord, type Entry, type NewEvent } from './record.ts'
import type { Lane } from '../outbox.ts'

/** In one block. More would hardly make an event cheaper, and what a damaged block takes with it is lost. */
const eventsMax = 128
/** Characters of text. */
const textMax = 64 * 1024
/** Stands in no record: JSON writes it as an escape, and the fields of a record exclude control characters. */
const separator = '\u001e'
const mark = '#'

/** What a block of a write can hold at the most, for who knows only how many blocks there were. */
export const blockEventsMax = eventsMax

/** Cuts the events of one lane, which ascend, into blocks. */
export function* cut(events: readonly NewEvent[]): Generator<NewEvent[]> {
  let part: NewEvent[] = []
  let characters = 0
  for (const event of events) {
    if (part.length === eventsMax || (part.length > 0 && characters + event.text.length > textMax)) {
      yield part
      part = []
      characters = 0
    }
    part.push(event)
    characters += event.text.length
  }
  if (part.length > 0) yield part
}

export function blockOf(events: readonly NewEvent[]): Block {
  const deadlines = new Set(
    events.flatMap(({ deadlineSteadyMs }) => (deadlineSteadyMs === undefined ? [] : [deadlineSteadyMs])),
  )
  const positions = events.map(({ position }) => position)
  return block((events[0] as NewEvent).lane, positions, [...deadlines])
}

function block(lane: Lane, positions: readonly number[], deadlines: readonly number[]): Block {
  const last = positions.at(-1) as number
  return { key: eventKey(lane, last), lane, last, positions, deadlines }
}

/**
 * `#<checksum>\t<how far before the last each event stands>\t<deadlines>`, then each event's record behind a separator.
 * The header has a checksum of its own, and each record has.
 */
export function encodeBlock(block: Block, events: readonly NewEvent[]): string {
  const distances = block.positions.map((position) => (block.last - position).toString(36)).join(',')
  const header = `${distances}\t${block.deadlines.join(',')}`
  return [`${mark}${checksum(block.lane, block.last, header)}\t${header}`, ...events.map(encodeRecord)].join(
    separator,
  )
}

/**
 * What stands in the place of each event of a block; of one that cannot be taken apart, one entry in the place of its last,
 * which is not readable. A value of the layout before blocks is a record, of which the block has one.
 */
export function entriesOfBlock(lane: Lane, last: number, value: string): Entry[] {
  if (!value.startsWith(mark)) return [entryOf(block(lane, [last], deadlineOf(value)), 0, value)]
  const [header = '', ...records] = value.split(separator)
  const whole = parseHeader(lane, last, header)
  if (whole?.positions.length !== records.length) return [entryOf(block(lane, [last], []), 0, value)]
  return records.map((record, slot) => entryOf(whole, slot, record))
}

function entryOf(block: Block, slot: number, value: string): Entry {
  return { lane: block.lane, position: block.positions[slot] as number, value, block, slot }
}

/** How many events were written into a block; @throws TidegateError `STORE_CORRUPT` */
export function countOfBlock(lane: Lane, last: number, value: string): number {
  if (!value.startsWith(mark)) return 1
  const block = parseHeader(lane, last, value.slice(0, value.indexOf(separator)))
  if (!block) throw altered(lane, last)
  return block.positions.length
}

function parseHeader(lane: Lane, last: number, text: string): Block | undefined {
  const [sum, distances = '', deadlines = ''] = text.slice(mark.length).split('\t')
  if (sum !== checksum(lane, last, `${distances}\t${deadlines}`)) return undefined
  const positions = distances.split(',').map((distance) => last - Number.parseInt(distance, 36))
  return block(lane, positions, deadlines === '' ? [] : deadlines.split(',').map(Number))
}

/** Of a record of the layout before blocks, as far as it says so. */
function deadlineOf(record: string): number[] {
  const field = record.slice(0, record.indexOf('\n')).split('\t')[7]
  return field ? [Number(field)] : []
}

function checksum(lane: Lane, last: number, header: string): string {
  return crc32(header, (last * 2 + (lane === 'high' ? 1 : 0)) % 2 ** 32).toString(36)
}
