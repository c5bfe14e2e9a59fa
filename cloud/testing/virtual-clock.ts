import type { Clock } from '../../src/clock.ts'

interface Timer {
  atMs: number
  run: () => void
}

/** A clock that stands still until told: two hands, so that the wall clock can jump while time goes on. */
export class VirtualClock implements Clock {
  private monotonic = 0
  private wall: number
  private timers = new Set<Timer>()

  constructor(wallMs = Date.UTC(2026, 0, 1)) {
    this.wall = wallMs
  }

  now(): number {
    return this.wall
  }

  monotonicMs(): number {
    return this.monotonic
  }

  sleep(delayMs: number, signal?: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const abort = (): void => {
        timer.cancel()
        reject(signal?.reason)
      }
      if (signal?.aborted) {
        reject(signal.reason)
        return
      }
      const timer = this.after(delayMs, () => {
        signal?.removeEventListener('abort', abort)
        resolve()
      })
      signal?.addEventListener('abort', abort, { once: true })
    })
  }

  after(delayMs: number, run: () => void): { cancel(): void } {
    const timer = { atMs: this.monotonic + delayMs, run }
    this.timers.add(timer)
    return { cancel: () => this.timers.delete(timer) }
  }

  /** Timers that wait for their moment. */
  get waiting(): number {
    return this.timers.size
  }

  /** Moves the wall clock only. */
  jump(offsetMs: number): void {
    this.wall += offsetMs
  }

  /** Lets time pass, running each timer at its moment and everything that follows from it, which is over when `calm` is. */
  async advance(byMs: number, calm: () => Promise<void> = settled): Promise<void> {
    const until = this.monotonic + byMs
    for (;;) {
      const next = [...this.timers]
        .filter((timer) => timer.atMs <= until)
        .toSorted((a, b) => a.atMs - b.atMs)[0]
      this.moveTo(next?.atMs ?? until)
      if (!next) break
      this.timers.delete(next)
      next.run()
      await calm()
    }
    await calm()
  }

  /** Lets time pass, a tenth of a second at a time, until something holds. */
  async until(holds: () => boolean): Promise<void> {
    await settled()
    while (!holds()) await this.advance(100)
  }

  /** Lets time pass until a piece of work is done. */
  async during<T extends Promise<unknown> | undefined>(work: T): Promise<Awaited<T>> {
    let done = false
    const settle = (): void => {
      done = true
    }
    Promise.resolve(work).then(settle, settle)
    await this.until(() => done)
    return await work
  }

  private moveTo(monotonicMs: number): void {
    this.wall += monotonicMs - this.monotonic
    this.monotonic = monotonicMs
  }
}

/** Everything that only waits for promises or I/O callbacks has had its turn. */
export async function settled(): Promise<void> {
  for (let turn = 0; turn < 5; turn++) await new Promise((resolve) => setImmediate(resolve))
}
