import { z } from 'zod'

/** The very pattern by which readers check an event's times (src/contract/event.ts). */
const rfc3339 = z.regexes.datetime({ offset: true })

/** RFC 3339 with seconds and an offset, as ms since the Unix epoch; undefined if it is anything else. */
export function parseTime(value: unknown): number | undefined {
  // 40 characters leave room for nanoseconds; databases know no year 0 and no offset beyond 15:59.
  if (typeof value !== 'string' || value.length > 40 || !rfc3339.test(value)) return undefined
  if (value.startsWith('0000') || /[+-](1[6-9]|2\d):\d\d$/.test(value)) return undefined
  const ms = Date.parse(value)
  return Number.isFinite(ms) ? ms : undefined
}

/** Numbers below are seconds, others ms: the border is the year 5138 in seconds, March 1973 in ms. */
const secondsMax = 100_000_000_000

/**
 * The time in a plain payload, as RFC 3339: a text with an offset is kept as it is, a text without takes
 * `offset`, a number is seconds or ms since the Unix epoch. Undefined if none can be read.
 */
export function timeFromPlain(value: unknown, offset: string | undefined): string | undefined {
  if (typeof value === 'number') {
    const ms = Math.abs(value) < secondsMax ? value * 1000 : value
    const date = new Date(ms)
    return Number.isFinite(date.getTime()) && ms >= 0 && ms < secondsMax * 1000
      ? date.toISOString()
      : undefined
  }
  if (parseTime(value) !== undefined) return value as string
  if (typeof value !== 'string' || offset === undefined) return undefined
  const text = `${value.replace(' ', 'T')}${offset}`
  return parseTime(text) === undefined ? undefined : text
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
