import { TidegateError } from '../../../src/errors.ts'
import type { Lane } from '../outbox.ts'
import type { Range } from '../../store/store.ts'

/**
 * Key layout on the store; DESIGN.md explains it.
 *
 *     m                            head: version, epochs, position, chain, depth …  one, in every write
 *     e!h~                         between the lanes; see `laneGuard`               one, written with the first head
 *     e!<lane>!<last>              a block of events, by the position of its last   one for each write and lane, or some
 *     r!<lane>!<last>              which events of a block have left it             one per block of which only a part is left
 *     x!<deadline>!<last>!<lane>   when some of a block's events expire             only with a time to live
 *     d!<generation>!<position>    IDs that are remembered, as they came            one per write, until the generation is sorted
 *     s!<generation>!<last hash>   the same, sorted                                 one per 256 IDs
 *     f!<generation>               the filter of a sorted generation                a handful
 *     g!<generation>               a closed generation of IDs                       a handful
 *     q!<device>                   what a device has queued                         one per device with a queue
 *     u!<from>                     numbered, undelivered, not yet reported          one per range
 *     c!<lane>!<position>          what stood at e! and is not what was written     kept for a person to look at
 *
 * Numbers are fixed-width decimals, so that byte order is numeric order. A block is found by any position in it: it is the
 * first whose last position is not before that.
 */
export const headKey = 'm'

/** Value of a record whose key says it all. Not empty: LevelDB's binding never frees the copy it makes of an empty value. */
export const present = '1'

const laneLetter: Record<Lane, string> = { high: 'h', normal: 'n' }

function number16(value: number): string {
  return String(value).padStart(16, '0')
}

/** Of the block that ends at `last`. */
export function eventKey(lane: Lane, last: number): string {
  return `e!${laneLetter[lane]}!${number16(last)}`
}

/** Where it stands which events of the block that ends at `last` have left it. */
export function goneKey(lane: Lane, last: number): string {
  return `r!${laneLetter[lane]}!${number16(last)}`
}

/** Where a record is kept that was altered. */
export function damagedKey(lane: Lane, position: number): string {
  return `c!${laneLetter[lane]}!${number16(position)}`
}

/** The blocks of a lane that may hold `from` or what stands behind it. */
export function eventRange(lane: Lane, from: number): Range {
  return { gte: eventKey(lane, from), lt: `e!${laneLetter[lane]}!~` }
}

/**
 * The block of `e!` or `r!`.
 * @throws TidegateError `STORE_CORRUPT`: LevelDB hands out altered keys as well, and a repair fences off the block that they are in
 */
export function parseBlockKey(key: string): { lane: Lane; last: number } {
  const [, lane, last] = /^[er]!([hn])!(\d{16})$/.exec(key) ?? []
  if (lane !== undefined) return { lane: lane === 'h' ? 'high' : 'normal', last: Number(last) }
  throw new TidegateError('STORE_CORRUPT', {
    message: `the key ${JSON.stringify(key)} is none that was written`,
    retryable: false,
    hint: 'the store is repaired, and what is lost is counted; check the health of the disk',
  })
}

export function expiryKey(deadlineMs: number, last: number, lane: Lane): string {
  return `x!${number16(deadlineMs)}!${number16(last)}!${laneLetter[lane]}`
}

export function parseExpiryKey(key: string): { keptMs: number; last: number; lane: Lane } {
  return {
    keptMs: Number(key.slice(2, 18)),
    last: Number(key.slice(19, 35)),
    lane: key.endsWith('h') ? 'high' : 'normal',
  }
}

function generationName(generation: number): string {
  return String(generation).padStart(8, '0')
}

/** Of the IDs that were remembered with the write that began behind `position`. */
export function rememberedKey(generation: number, position: number): string {
  return `d!${generationName(generation)}!${number16(position)}`
}

export function rememberedRange(generation: number): Range {
  return { gte: `d!${generationName(generation)}!`, lt: `d!${generationName(generation)}!~` }
}

/** `hash` in hexadecimal digits, whose order is that of the hashes. */
export function sortedKey(generation: number, hash: string): string {
  return `s!${generationName(generation)}!${hash}`
}

/** The sorted blocks that may hold `hash` or what comes behind it. */
export function sortedRange(generation: number, hash = ''): Range {
  return { gte: sortedKey(generation, hash), lt: `s!${generationName(generation)}!~` }
}

export function filterKey(generation: number): string {
  return `f!${generationName(generation)}`
}

export function generationKey(generation: number): string {
  return `g!${generationName(generation)}`
}

/** Of `g!` or `f!`. */
export function parseGenerationKey(key: string): number {
  return Number(key.slice(2))
}

export function deviceKey(deviceId: string): string {
  return `q!${deviceId}`
}

export function undeliveredKey(from: number): string {
  return `u!${number16(from)}`
}

/**
 * A key that always lives, between the lanes. A scan of LevelDB's that runs into deleted keys walks on to the next
 * live one, however far and whatever its range: without this, looking for alarms would walk over everything that
 * was ever released behind them.
 */
export const laneGuard = 'e!h~'

export const allGone: Range = { gte: 'r!', lt: 'r!~' }
export const allExpiries: Range = { gte: 'x!', lt: 'x!~' }
export const allGenerations: Range = { gte: 'g!', lt: 'g!~' }
export const allFilters: Range = { gte: 'f!', lt: 'f!~' }
export const allDevices: Range = { gte: 'q!', lt: 'q!~' }
export const allDamaged: Range = { gte: 'c!', lt: 'c!~' }
export const allUndelivered: Range = { gte: 'u!', lt: 'u!~' }
