import type { Lane } from '../outbox.ts'
import type { Range } from '../../store/store.ts'

/**
 * Key layout on the store; DESIGN.md explains it.
 *
 *     m                       head: version, epochs, position, chain, depth …   one, in every write
 *     e!h~                    between the lanes; see `laneGuard`                one, written with the first head
 *     e!<lane>!<position>     an event                                          one each
 *     x!<deadline>!<position> when it expires                                   only with a time to live
 *     d!<generation>!<hash>   an ID that is remembered                          one each
 *     g!<generation>          a closed generation of IDs                        a handful
 *     q!<device>              what a device has queued                          one per device with a queue
 *     u!<from>                numbered, undelivered, not yet reported           one per range
 *     c!<lane>!<position>     what stood at e! and is not what was written      kept for a person to look at
 *
 * Numbers are fixed-width decimals, so that byte order is numeric order.
 */
export const headKey = 'm'

/** Value of a record whose key says it all. Not empty: LevelDB's binding never frees the copy it makes of an empty value. */
export const present = '1'

const laneLetter: Record<Lane, string> = { high: 'h', normal: 'n' }

function number16(value: number): string {
  return String(value).padStart(16, '0')
}

export function eventKey(lane: Lane, position: number): string {
  return `e!${laneLetter[lane]}!${number16(position)}`
}

/** Where a record is kept that was altered. */
export function damagedKey(lane: Lane, position: number): string {
  return `c!${laneLetter[lane]}!${number16(position)}`
}

export function eventRange(lane: Lane, from: number, to = Number.MAX_SAFE_INTEGER): Range {
  return { gte: eventKey(lane, from), lt: `${eventKey(lane, to)}~` }
}

export function positionOfEventKey(key: string): number {
  return Number(key.slice(4))
}

export function expiryKey(deadlineMs: number, position: number, lane: Lane): string {
  return `x!${number16(deadlineMs)}!${number16(position)}!${laneLetter[lane]}`
}

export function parseExpiryKey(key: string): { keptMs: number; position: number; lane: Lane } {
  return {
    keptMs: Number(key.slice(2, 18)),
    position: Number(key.slice(19, 35)),
    lane: key.endsWith('h') ? 'high' : 'normal',
  }
}

function generationName(generation: number): string {
  return String(generation).padStart(8, '0')
}

export function rememberedKey(generation: number, hash: string): string {
  return `d!${generationName(generation)}!${hash}`
}

export function rememberedRange(generation: number): Range {
  return { gte: `d!${generationName(generation)}!`, lt: `d!${generationName(generation)}!~` }
}

export function hashOfRememberedKey(key: string): string {
  return key.slice(11)
}

export function generationKey(generation: number): string {
  return `g!${generationName(generation)}`
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

export const allExpiries: Range = { gte: 'x!', lt: 'x!~' }
export const allGenerations: Range = { gte: 'g!', lt: 'g!~' }
export const allDevices: Range = { gte: 'q!', lt: 'q!~' }
export const allDamaged: Range = { gte: 'c!', lt: 'c!~' }
export const allUndelivered: Range = { gte: 'u!', lt: 'u!~' }
