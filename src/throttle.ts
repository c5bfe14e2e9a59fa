import type { Clock } from './clock.ts'
import type { Logger } from './log.ts'

/** Keys remembered at once; when they are used up, all start anew. */
const keysMax = 10_000

/** How many were held back before this one, or undefined if this one is to be held back too. */
export interface Throttle {
  (key: string): number | undefined
  /** Whether the next of that key would be held back; counts nothing. */
  holds(key: string): boolean
}

/**
 * Lets the first `many` alike per interval through and counts the others, so that a device in a loop cannot fill the
 * log.
 */
export function createThrottle(clock: Clock, intervalMs: number, many = 1): Throttle {
  const entries = new Map<string, { sinceMs: number; through: number; heldBack: number }>()
  const pass = (key: string): number | undefined => {
    const nowMs = clock.monotonicMs()
    const entry = entries.get(key)
    if (entry && nowMs - entry.sinceMs < intervalMs) {
      if (entry.through < many) {
        entry.through += 1
        return 0
      }
      entry.heldBack += 1
      return undefined
    }
    if (entries.size >= keysMax) entries.clear()
    entries.set(key, { sinceMs: nowMs, through: 1, heldBack: 0 })
    return entry?.heldBack ?? 0
  }
  const holds = (key: string): boolean => {
    const entry = entries.get(key)
    return entry !== undefined && entry.through >= many && clock.monotonicMs() - entry.sinceMs < intervalMs
  }
  return Object.assign(pass, { holds })
}

export type ThrottledWarn = (key: string, message: string, about: object) => void

/** Warns of one of many alike per interval, by message and key; the next says how many it speaks for besides. */
export function createThrottledWarn(log: Logger, clock: Clock, intervalMs: number): ThrottledWarn {
  const throttle = createThrottle(clock, intervalMs)
  return (key, message, about) => {
    const heldBack = throttle(`${message} ${key}`)
    if (heldBack === undefined) return
    log.warn(heldBack === 0 ? about : { ...about, alikeBefore: heldBack }, message)
  }
}
