import { createHash } from 'node:crypto'
import type { Random } from '../../src/clock.ts'

/**
 * A stream of chance that is the same for the same words, on every machine: `seededRandom(7, 'sensor-001')`.
 * Source: T. Ettinger, mulberry32 (public domain); good enough for readings and fault times, not for secrets.
 */
export function seededRandom(...words: (string | number)[]): Random {
  let state = createHash('sha256').update(words.join('\n')).digest().readUInt32LE(0)
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}

/** A standard normal deviate (Box & Muller, 1958). */
export function normal(random: Random): number {
  return Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random())
}

/**
 * The ID of a device's nth event of a run: a UUID that can be computed again, so that a run of a million events
 * is remembered as a counter per device. Source: RFC 9562, appendix B.2 (UUIDv8, name-based, SHA-256).
 */
export function eventId(run: string, deviceId: string, n: number): string {
  const hash = createHash('sha256').update(`${run}\n${deviceId}\n${n}`).digest()
  hash.writeUInt8((hash.readUInt8(6) & 0x0f) | 0x80, 6)
  hash.writeUInt8((hash.readUInt8(8) & 0x3f) | 0x80, 8)
  const hex = hash.toString('hex', 0, 16)
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join('-')
}
