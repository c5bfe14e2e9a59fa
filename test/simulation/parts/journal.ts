import type { Scheduler } from './scheduler.ts'

export type Guarantee =
  'G1' | 'G2' | 'G3' | 'G4' | 'G5' | 'G6' | 'G7' | 'G8' | 'G9' | 'time' | 'live' | 'error'

export interface Violation {
  guarantee: Guarantee
  detail: string
}

/** What happened in a run, in order; what was counted; what was broken. */
export class Journal {
  readonly lines: string[] = []
  readonly counts = new Map<string, number>()
  readonly violations: Violation[] = []
  private readonly scheduler: Scheduler

  constructor(scheduler: Scheduler) {
    this.scheduler = scheduler
  }

  tell(who: string, what: string): void {
    const time = (this.scheduler.nowMs / 1000).toFixed(4).padStart(10)
    this.lines.push(`${time}  ${who.padEnd(10)} ${what}`)
  }

  count(kind: string, times = 1): void {
    this.counts.set(kind, (this.counts.get(kind) ?? 0) + times)
  }

  violate(guarantee: Guarantee, detail: string): void {
    this.violations.push({ guarantee, detail })
    this.tell('VIOLATION', `${guarantee}: ${detail}`)
  }
}
