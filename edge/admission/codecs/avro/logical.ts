import type { AvroFixed, AvroPrimitive } from './schema.ts'
import { bigInteger } from '../building.ts'
import { dateText, fractionOf, localTimeText, sinceEpoch, timeText } from '../times.ts'

/** What a logical type makes of a number; undefined: it is no such thing, and stays the number that it is. */
export type NumberText = (value: number | bigint) => string | undefined

const timestamp =
  (unitsPerSecond: number, write: typeof timeText): NumberText =>
  (value) =>
    write(...sinceEpoch(value, unitsPerSecond))

const timeOfDay =
  (unitsPerSecond: number): NumberText =>
  (value) => {
    const [seconds, nanos] = sinceEpoch(value, unitsPerSecond)
    if (seconds < 0 || seconds >= 86_400) return undefined
    return `${new Date(seconds * 1000).toISOString().slice(11, 19)}${fractionOf(nanos)}`
  }

export const intTexts: ReadonlyMap<string, NumberText> = new Map([
  ['date', (value) => dateText(Number(value))],
  ['time-millis', timeOfDay(1000)],
])

export const longTexts: ReadonlyMap<string, NumberText> = new Map([
  ['time-micros', timeOfDay(1e6)],
  ['timestamp-millis', timestamp(1000, timeText)],
  ['timestamp-micros', timestamp(1e6, timeText)],
  ['timestamp-nanos', timestamp(1e9, timeText)],
  ['local-timestamp-millis', timestamp(1000, localTimeText)],
  ['local-timestamp-micros', timestamp(1e6, localTimeText)],
  ['local-timestamp-nanos', timestamp(1e9, localTimeText)],
])

/** The unscaled value in two's complement, as a number with its point. */
export function decimalText(bytes: Buffer, scale: number): string {
  const value = bigInteger(bytes, { signed: true })
  const digits = String(value < 0n ? -value : value).padStart(scale + 1, '0')
  const sign = value < 0n ? '-' : ''
  if (scale === 0) return `${sign}${digits}`
  return `${sign}${digits.slice(0, -scale)}.${digits.slice(-scale)}`
}

function uuidText(bytes: Buffer): string | undefined {
  if (bytes.length !== 16) return undefined
  return bytes.toString('hex').replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-')
}

/** Months, days and ms, which say nothing about one another, as a duration of ISO 8601. */
function durationText(bytes: Buffer): string | undefined {
  if (bytes.length !== 12) return undefined
  const ms = bytes.readUInt32LE(8)
  const seconds = `${Math.floor(ms / 1000)}${fractionOf((ms % 1000) * 1e6)}`
  return `P${bytes.readUInt32LE(0)}M${bytes.readUInt32LE(4)}DT${seconds}S`
}

/** What the logical type of a fixed makes of its bytes. */
export function fixedText(bytes: Buffer, logicalType: string | undefined, scale: number): string | undefined {
  switch (logicalType) {
    case 'decimal':
      return decimalText(bytes, scale)
    case 'uuid':
      return uuidText(bytes)
    case 'duration':
      return durationText(bytes)
    default:
      return undefined
  }
}

/** The logical type by which values are read, with the scale of a decimal; undefined: it is as if there were none. */
export function effectiveLogicalType(schema: AvroPrimitive | AvroFixed): string | undefined {
  const { kind, logicalType = '', scale = 0 } = schema
  if (logicalType === 'decimal') return kind === 'bytes' || kind === 'fixed' ? `decimal, ${scale}` : undefined
  const isRead =
    (kind === 'int' && intTexts.has(logicalType)) ||
    (kind === 'long' && longTexts.has(logicalType)) ||
    (kind === 'fixed' && ['uuid', 'duration'].includes(logicalType))
  return isRead ? logicalType : undefined
}
