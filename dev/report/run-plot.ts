import { nameRecord, type FaultRecord } from '../faults/saboteur.ts'
import { grouped } from '../format.ts'
import type { Course } from '../watch/history.ts'
import { rates, type Recording } from '../watch/recorder.ts'
import type { Snapshot } from '../watch/snapshot.ts'
import type { PageLine } from './page/client.ts'
import type { Band, Panel, PlotOptions } from './plot.ts'
import type { Report } from './report.ts'

/** A run as its page shows it. */
export interface RunOnPage {
  report: Report
  recording: Recording
  course: Course
}

/** Rates are means over this; shorter ones show the scraping, not the system. */
const rateWindowMs = 1000

/** Buffer depth, rates and latency over one time axis, and what was done to the system across all of them. */
export function plotOf({ report, recording, course }: RunOnPage): PlotOptions {
  const { run, faults } = report
  const xMax = (run.durationMs + run.drainMs) / 1000
  const samples = recording.samples.filter(({ elapsedMs }) => elapsedMs <= xMax * 1000 + 500)
  return {
    panels: [depth(samples), perSecond(samples, course), latency(course)],
    bands: faults.map(bandOf),
    xMax,
  }
}

/** The same lines for the page's own script. */
export function linesOf({ panels }: PlotOptions): PageLine[] {
  return panels.flatMap(({ unit, lines }) =>
    lines.map(({ id, name, points }) => ({
      id,
      name,
      unit,
      points: points.map(([x, y]) => [round(x), round(y)]),
    })),
  )
}

function depth(samples: readonly Snapshot[]): Panel {
  const points = samples.map(({ elapsedMs, buffered }) => [elapsedMs / 1000, buffered] as const)
  return {
    title: 'Buffer depth',
    unit: 'events in the outbox',
    scale: 'linear',
    height: 150,
    format: rounded,
    lines: [{ name: 'buffered', id: 'depth', area: true, points }],
  }
}

function perSecond(samples: readonly Snapshot[], course: Course): Panel {
  const counted = (['published', 'acknowledged', 'forwarded'] as const).map((name) => ({
    name,
    id: name,
    points: rates(samples, (sample) => sample[name], rateWindowMs),
  }))
  return {
    title: 'Rates',
    unit: 'events per second',
    scale: 'linear',
    height: 190,
    format: rounded,
    lines: [...counted, { name: 'stored', id: 'stored', points: everySecond(course.stored) }],
  }
}

function latency(course: Course): Panel {
  const line = (name: 'p50' | 'p99'): Panel['lines'][number] => ({
    name,
    id: name,
    points: course.latency.map((row) => [row.seconds, row[name]] as const),
  })
  return {
    title: 'Latency',
    unit: 'from admission to history',
    scale: 'log',
    height: 150,
    format: shortTime,
    lines: [line('p50'), line('p99')],
  }
}

/** A second in which nothing was stored is a point as well. */
function everySecond(counts: Course['stored']): [seconds: number, count: number][] {
  const bySecond = new Map(counts.map(({ seconds, count }) => [seconds, count]))
  const last = counts.at(-1)?.seconds ?? 0
  const points: [number, number][] = []
  for (let seconds = 0.5; seconds <= last; seconds += 1) points.push([seconds, bySecond.get(seconds) ?? 0])
  return points
}

function bandOf(fault: FaultRecord): Band {
  return {
    from: fault.fromMs / 1000,
    to: fault.untilMs / 1000,
    id: fault.kind === 'kill' ? 'kill' : 'link',
    label: nameRecord(fault),
  }
}

/** For an axis of powers of ten. */
function shortTime(ms: number): string {
  return ms < 1000 ? `${ms} ms` : `${grouped(ms / 1000)} s`
}

function rounded(value: number): string {
  return grouped(Math.round(value))
}

function round(value: number): number {
  return Math.round(value * 100) / 100
}
