import type { Clock } from '../../../src/clock.ts'
import type { Scheduler } from './scheduler.ts'

/** A machine's wall clock: right, unless a fault moved it. */
export interface Wall {
  offsetMs: number
}

/** When a run begins, by true time. */
export const epochMs = Date.UTC(2026, 0, 1)

const never = new Promise<never>(() => {})

/**
 * One run of a program, from its start to its end or its crash. Everything it does to the outside world goes through
 * `step` or its clock; once it is dead neither ever comes back to it, and what it left behind is garbage.
 */
export class SimulatedProcess {
  readonly name: string
  readonly clock: Clock
  alive = true
  private readonly scheduler: Scheduler
  private frozenUntilMs = 0
  private crashIn: { steps: number; crash: (where: string) => void } | undefined

  constructor(name: string, scheduler: Scheduler, wall: Wall) {
    this.name = name
    this.scheduler = scheduler
    const bootedMs = scheduler.nowMs - 1000
    this.clock = {
      now: () => Math.floor(epochMs + scheduler.nowMs + wall.offsetMs),
      monotonicMs: () => scheduler.nowMs - bootedMs,
      after: (delayMs, task) => this.later(delayMs, task),
      sleep: (delayMs, signal) => this.sleep(delayMs, signal),
    }
  }

  /** A moment at which the program waits for the outside world, for `delayMs`; a crash may strike at each. */
  async step(where: string, delayMs: number): Promise<void> {
    this.mayCrash(where)
    if (!this.alive) return never
    const waitMs = Math.max(delayMs, this.frozenUntilMs - this.scheduler.nowMs)
    if (waitMs > 0) {
      await new Promise<void>((resolve) => {
        this.later(waitMs, resolve)
      })
    } else await Promise.resolve()
    return this.alive ? undefined : never
  }

  /** The crash comes at the `steps`th wait from now. */
  crashAfter(steps: number, crash: (where: string) => void): void {
    this.crashIn = { steps, crash }
  }

  /** Counts a wait, or a call into the outside world that nobody waits for. */
  mayCrash(where: string): void {
    if (!this.alive || !this.crashIn || --this.crashIn.steps > 0) return
    const { crash } = this.crashIn
    this.crashIn = undefined
    crash(where)
  }

  /** SIGSTOP, and SIGCONT after a while. */
  freeze(forMs: number): void {
    this.frozenUntilMs = Math.max(this.frozenUntilMs, this.scheduler.nowMs + forMs)
  }

  get frozen(): boolean {
    return this.frozenUntilMs > this.scheduler.nowMs
  }

  later(delayMs: number, task: () => void): { cancel(): void } {
    let timer = this.scheduler.after(delayMs, () => {
      if (!this.alive) return
      const frozenMs = this.frozenUntilMs - this.scheduler.nowMs
      if (frozenMs > 0) timer = this.scheduler.after(frozenMs, () => this.alive && task())
      else task()
    })
    return { cancel: () => timer.cancel() }
  }

  private sleep(delayMs: number, signal?: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      if (signal?.aborted) return reject(signal.reason as Error)
      const abort = (): void => {
        timer.cancel()
        reject(signal?.reason as Error)
      }
      const timer = this.later(delayMs, () => {
        signal?.removeEventListener('abort', abort)
        resolve()
      })
      signal?.addEventListener('abort', abort, { once: true })
    })
  }
}
