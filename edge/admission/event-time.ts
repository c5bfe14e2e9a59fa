import { z } from 'zod'
import { offsetMsOfLocal, type TimeZone } from './routes/time-zone.ts'

/** The very pattern by which readers check an event's times (src/contract/event.ts). */
const readersPattern = z.regexes.datetime({ offset: true })

/** A time as every reader of the wire takes it, or why what was given is none, without quoting it. */
export type TimeRead = { ok: true; time: string } | { ok: false; fault: string }

/**
 * The time that a device gave. A text is RFC 3339, with an offset or, where the zone of the route is known, without; it
 * is kept as it is unless readers would not take it so. A number, or a text of 10, 13, 16 or 19 digits, is seconds, ms, µs
 * or ns since the Unix epoch, by its size.
 */
export function readTime(value: unknown, zone: TimeZone | undefined): TimeRead {
  if (typeof value === 'number') return timeFromEpoch(String(value))
  if (typeof value !== 'string') return unreadable('it is neither a text nor a number')
  if (/^(\d{10}|\d{13}|\d{16}|\d{19})(\.\d+)?$/.test(value)) return timeFromEpoch(value)
  return timeFromText(value, zone)
}

/** RFC 3339 as a reader takes it, as ms since the Unix epoch. */
export function msOf(time: string): number {
  return Date.parse(time)
}

const unreadable = (fault: string): TimeRead => ({ ok: false, fault })

/**
 * The border between two units is the year 5138 in the larger and 1973 in the smaller one. Digits below the second are
 * kept, nine at most.
 */
function timeFromEpoch(text: string): TimeRead {
  const [, whole, decimals = ''] = /^(\d{1,20})(?:\.(\d+))?$/.exec(text) ?? []
  if (whole === undefined) return unreadable('it is no number of seconds, ms, µs or ns since 1970')
  // Up to 11 digits are seconds, and three more for each smaller unit.
  const scale = Math.max(0, Math.ceil((whole.length - 11) / 3) * 3)
  const digits = whole.padStart(scale + 1, '0')
  const fraction = (digits.slice(digits.length - scale) + decimals).slice(0, 9).padEnd(3, '0')
  const seconds = new Date(Number(digits.slice(0, digits.length - scale)) * 1000).toISOString()
  return { ok: true, time: `${seconds.slice(0, 19)}.${fraction}Z` }
}

/** RFC 3339, 5.6: also `t`, `z` or a space where a person wrote it, and the second 60. */
const rfc3339 = /^(\d{4}-\d\d-\d\d)[Tt ](\d\d:\d\d):(\d\d)(\.\d+)?([Zz]|[+-]\d\d:\d\d)?$/

/** A text of more characters is not looked at. */
const lengthMax = 64

function timeFromText(text: string, zone: TimeZone | undefined): TimeRead {
  const match = text.length > lengthMax ? null : rfc3339.exec(text)
  if (!match) return unreadable('it is no time of RFC 3339, such as 2026-07-01T12:00:00Z')
  const [, date = '', minute = '', second = '', digits = '', offset] = match
  const leap = second === '60'
  const upToSecond = `${date}T${minute}:${leap ? '59' : second}`
  // Databases know no year 0.
  if (date.startsWith('0000') || !readersPattern.test(`${upToSecond}Z`))
    return unreadable('there is no such day or time')
  const fraction = digits.slice(0, 10)
  const offsetMs = offset === undefined ? offsetOfLocal(upToSecond, zone) : offsetMsOf(offset)
  if (offsetMs === undefined) {
    return unreadable(
      offset === undefined
        ? 'it has no offset, and its route has no timeOffset'
        : 'there is no such offset from UTC',
    )
  }
  return inForm({ upToSecond, fraction, leap, offsetMs, written: offset?.toUpperCase() })
}

function offsetOfLocal(upToSecond: string, zone: TimeZone | undefined): number | undefined {
  return zone && offsetMsOfLocal(Date.parse(`${upToSecond}Z`), zone)
}

interface Parts {
  upToSecond: string
  fraction: string
  /** The second is 60, and `upToSecond` is the one before it. */
  leap: boolean
  offsetMs: number
  /** The offset as it was given. */
  written: string | undefined
}

function inForm({ upToSecond, fraction, leap, offsetMs, written }: Parts): TimeRead {
  const utcMs = Date.parse(`${upToSecond}Z`) - offsetMs
  if (leap) {
    // Unix time has no leap seconds: it is the second that follows. They are the last of a month in UTC.
    const next = new Date(utcMs + 1000)
    if (!next.toISOString().includes('-01T00:00:00.')) return unreadable('there was no leap second')
    return inRange(next, fraction)
  }
  const offset = written ?? offsetText(offsetMs)
  // Databases know no offset beyond 15:59.
  if (offset === undefined || Math.abs(offsetMs) >= 16 * 3_600_000) return inRange(new Date(utcMs), fraction)
  return { ok: true, time: `${upToSecond}${fraction}${offset}` }
}

function inRange(utc: Date, fraction: string): TimeRead {
  const text = utc.toISOString()
  // Beyond the years 1 to 9999 it has a sign.
  if (text.startsWith('0000') || !/^\d{4}-/.test(text)) return unreadable('there is no such day or time')
  return { ok: true, time: `${text.slice(0, 19)}${fraction}Z` }
}

function offsetMsOf(offset: string): number | undefined {
  if (/^z$/i.test(offset)) return 0
  const [, sign, hours, minutes] = /^([+-])([01]\d|2[0-3]):([0-5]\d)$/.exec(offset) ?? []
  if (hours === undefined) return undefined
  return (Number(hours) * 60 + Number(minutes)) * (sign === '-' ? -60_000 : 60_000)
}

/** Undefined: not of whole minutes, as local times were before there were zones. */
function offsetText(offsetMs: number): string | undefined {
  const minutes = Math.abs(offsetMs) / 60_000
  if (!Number.isInteger(minutes)) return undefined
  return `${offsetMs < 0 ? '-' : '+'}${twoDigits(Math.floor(minutes / 60))}:${twoDigits(minutes % 60)}`
}

function twoDigits(number: number): string {
  return String(number).padStart(2, '0')
}

/** The first plausible time of a reading: before it, a clock was never set. */
const plausibleFromMs = Date.UTC(2015, 0, 1)

/**
 * Whether a device's clock is too far from the gateway's to be believed. A gateway whose own clock was never
 * set (a boot in 1970) judges no other by it.
 */
export function isImplausible(timeMs: number, nowMs: number, skewMaxMs: number, ageMaxMs: number): boolean {
  if (timeMs < plausibleFromMs) return true
  if (nowMs < plausibleFromMs) return false
  return timeMs > nowMs + skewMaxMs || timeMs < nowMs - ageMaxMs
}
