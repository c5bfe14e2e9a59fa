import type { Clock } from './clock.ts'

/** Keys remembered at once; when they are used up, all start anew. */
const keysMax = 10_000

/**
 * Lets one of many alike through per interval and counts the others, so that a device in a loop cannot fill the
 * log. Returns how many were held back since the last one, or undefined if this one is to be held back too.
 */
export function createThrottle(clock: Clock, intervalMs: number): (key: string) => number | undefined {
  const entries = new Map<string, { sinceMs: number; heldBack: number }>()
  return (key) => {
    const nowMs = clock.monotonicMs()
    const entry = entries.get(key)
    if (entry && nowMs - entry.sinceMs < intervalMs) {
      entry.heldBack += 1
      return undefined
    }
    if (entries.size >= keysMax) entries.clear()
    entries.set(key, { sinceMs: nowMs, heldBack: 0 })
    return entry?.heldBack ?? 0
  }
}
