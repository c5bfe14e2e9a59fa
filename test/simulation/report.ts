import { faultSpecs } from './plan/fault-kinds.ts'
import type { RunReport } from './runs.ts'

/** Adds up what many runs came to. */
export class Tally {
  runs = 0
  simulatedMs = 0
  readonly failed: RunReport[] = []
  private readonly counts = new Map<string, number>()
  private readonly startedMs = performance.now()

  add(report: RunReport): void {
    this.runs += 1
    this.simulatedMs += report.simulatedMs
    for (const [kind, times] of report.counts) this.counts.set(kind, (this.counts.get(kind) ?? 0) + times)
    if (report.violations.length > 0) this.failed.push(report)
  }

  get seconds(): number {
    return (performance.now() - this.startedMs) / 1000
  }

  /** `  3120/10000  ███████░░░░░░░░░  71 runs/s  0 violations` */
  line(of: number): string {
    const width = 24
    const full = Math.round((this.runs / of) * width)
    const bar = '█'.repeat(full) + '░'.repeat(width - full)
    const rate = (this.runs / this.seconds).toFixed(0)
    const count = `${String(this.runs).padStart(String(of).length)}/${of}`
    return `${count}  ${bar}  ${rate} runs/s  ${violations(this.failed.length)}`
  }

  summary(): string {
    const hours = this.simulatedMs / 3_600_000
    const rate = (this.runs / this.seconds).toFixed(0)
    const faults = Object.entries(faultSpecs).map(([kind, { what }]) =>
      row(kind, this.counts.get(kind) ?? 0, what),
    )
    const consequences = [...this.counts]
      .filter(([kind]) => !(kind in faultSpecs))
      .toSorted(([a], [b]) => (a < b ? -1 : 1))
      .map(([kind, times]) => row(kind, times, ''))
    return [
      'faults injected',
      ...faults,
      'and what came of them',
      ...consequences,
      '',
      `${this.runs} runs, ${hours.toFixed(0)} simulated hours in ${this.seconds.toFixed(0)} s (${rate} runs/s): ${violations(this.failed.length)}`,
    ].join('\n')
  }
}

function row(kind: string, times: number, what: string): string {
  return `  ${kind.padEnd(24)}${String(times).padStart(9)}  ${what}`.trimEnd()
}

function violations(count: number): string {
  return count === 1 ? '1 violation' : `${count} violations`
}

/** A line that is written over on a terminal, and now and then a plain one elsewhere. */
export function progress(stream: NodeJS.WriteStream): { show(line: string): void; end(): void } {
  const everyMs = stream.isTTY ? 200 : 10_000
  let shownMs = performance.now()
  return {
    show(line) {
      if (performance.now() - shownMs < everyMs) return
      shownMs = performance.now()
      stream.write(stream.isTTY ? `\r\u001b[K${line}` : `${line}\n`)
    },
    end() {
      if (stream.isTTY) stream.write('\r\u001b[K')
    },
  }
}
