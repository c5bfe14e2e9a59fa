import { expect, test } from 'vitest'
import type { Snapshot } from '../../../dev/watch/snapshot.ts'
import {
  clip,
  renderLine,
  renderPlan,
  renderView,
  sparkline,
  visibleLength,
  type ViewState,
} from '../../../dev/screen/view.ts'
import type { RunPlan } from '../../../dev/faults/plan.ts'

const snapshot: Snapshot = {
  elapsedMs: 133_000,
  devices: 17,
  connected: 16,
  published: 1_234_567_890,
  acknowledged: 1_234_567_889,
  buffered: 12_345_678,
  forwarded: 1_222_222_222,
  stored: 1_222_222_221,
  duplicates: 12,
  deadLettered: 18,
  uplinkUp: false,
  link: { kind: 'stalled' },
  live: { p50: 8.2, p99: 25_000 },
  backlog: { p50: 5100, p99: 9_800_000 },
  away: ['edge', 'cloud', 'RabbitMQ', 'PostgreSQL'],
}
const plan: RunPlan = {
  forMs: 300_000,
  faults: [
    { kind: 'kill', target: 'broker', atMs: 200_100, forMs: 1000 },
    { kind: 'link', mode: { kind: 'down' }, atMs: 150_000, forMs: 60_000 },
    { kind: 'kill', target: 'edge', atMs: 100_000, forMs: 1000 },
  ],
}
const state: ViewState = {
  plan,
  title: 'a gateway with a rather long name → RabbitMQ → PostgreSQL, and more words than fit',
  snapshot,
  depths: Array.from({ length: 500 }, (_, index) => index),
  acknowledgedPerSecond: 1234.5,
  storedPerSecond: 0,
  notes: Array.from({ length: 20 }, (_, index) => ({
    at: '09:41:07',
    from: 'edge',
    text: `note ${index} ${'words '.repeat(40)}`,
    level: 'warn' as const,
    times: 120,
  })),
  keys: ['u uplink down/up', 's slow link', 'k kill -9 the gateway', 'q quit'],
}

test.each([20, 40, 69, 70, 80, 200])('no line is wider than a terminal of %i columns', (columns) => {
  for (const colour of [true, false]) {
    for (const line of renderView(state, { columns, colour })) {
      expect(visibleLength(line)).toBeLessThanOrEqual(columns)
    }
  }
})

test('a terminal of 80 columns and 24 lines shows everything', () => {
  const lines = renderView(state, { columns: 80, colour: false })
  expect(lines.length).toBeLessThan(24)
  for (const word of ['published', 'acknowledged', 'buffered', 'forwarded', 'stored', 'duplicates', 'dead'])
    expect(lines.join('\n')).toContain(word)
})

test('without colour there is not one escape sequence', () => {
  expect(renderView(state, { columns: 80, colour: false }).join('')).not.toContain('\u001b')
  expect(renderView(state, { columns: 80, colour: true }).join('')).toContain('\u001b[31m')
})

test('a cut line ends its colour', () => {
  expect(clip('\u001b[31mabcdef\u001b[39m', 4)).toBe('\u001b[31mabc…\u001b[0m')
})

test('the sparkline shows its newest values, an empty buffer flat and the deepest full', () => {
  expect(sparkline([9, 9, 0, 1, 100], 3)).toBe('▁▂█')
  expect(sparkline([0, 0], 4)).toBe('▁▁  ')
})

test('a log line tells uplink and buffer, and who is away', () => {
  expect(renderLine(snapshot, plan)).toContain('uplink stalled')
  expect(renderLine({ ...snapshot, link: { kind: 'up' } }, plan)).toContain('uplink reconnecting')
  expect(renderLine(snapshot, plan)).toContain('away: edge, cloud')
})

test('the view tells how far the run is, and which faults are to come and when, the next one first', () => {
  const text = renderView(state, { columns: 100, colour: false }).join('\n')
  expect(text).toContain('0:02:13 of 0:05:00')
  expect(text).toContain('to come   uplink down in 17 s, kill -9 of the broker in 68 s')
  expect(text).not.toContain('of the edge')
  const late = { ...snapshot, elapsedMs: 250_000 }
  expect(renderView({ ...state, snapshot: late }, { columns: 100, colour: false }).join('\n')).toContain(
    'to come   no more faults',
  )
})

test('a run without an end and without faults shows neither', () => {
  const open = { ...state, plan: { forMs: undefined, faults: [] } }
  const text = renderView(open, { columns: 100, colour: false }).join('\n')
  expect(text).toContain('0:02:13')
  expect(text).not.toMatch(/0:02:13 of|to come/)
  expect(renderPlan(open.plan)).toBe('')
})

test('a log is told the plan at the start, and in each line how far the run is', () => {
  expect(renderPlan(plan)).toBe(
    'The run (0:05:00): kill -9 of the edge at 0:01:40, uplink down at 0:02:30, kill -9 of the broker at 0:03:20.',
  )
  expect(renderPlan({ forMs: 60_000, faults: [] })).toBe('The run (0:01:00): no faults.')
  expect(renderLine(snapshot, plan)).toMatch(/^0:02:13 of 0:05:00 {2}published/)
})
