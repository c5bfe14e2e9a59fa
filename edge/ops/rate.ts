import type { Clock } from '../../src/clock.ts'

/** Something counted per second, smoothed over about half a minute. */
export interface Rate {
  add(count: number): void
  perSecond(): number
  /** What was before says nothing about what is now. */
  reset(): void
}

const smoothingMs = 30_000
/** Less time than this tells no pace. */
const elapsedMsMin = 1000

export function createRate(clock: Clock): Rate {
  let sum = 0
  let atMs = clock.monotonicMs()
  let sinceMs = atMs

  function decay(): void {
    const nowMs = clock.monotonicMs()
    sum *= Math.exp((atMs - nowMs) / smoothingMs)
    atMs = nowMs
  }

  return {
    add(count) {
      decay()
      sum += count
    },
    perSecond() {
      decay()
      // As much of the window as there has been, so that a new rate is right at once and does not creep up.
      const elapsedMs = Math.max(elapsedMsMin, atMs - sinceMs)
      const seconds = (smoothingMs / 1000) * (1 - Math.exp(-elapsedMs / smoothingMs))
      return sum / seconds
    },
    reset() {
      sum = 0
      atMs = clock.monotonicMs()
      sinceMs = atMs
    },
  }
}
