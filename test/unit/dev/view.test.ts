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
  leftBefore: 0,
  undelivered: 0,
  stored: 1_222_222_221,
  duplicates: 12,
  quarantined: 18,
  uplinkUp: false,
  link: { kind: 'stalled' },
  live: { p50: 8.2, p99: 25_000 },
  backlog: { p50: 5100, p99: 9_800_000 },
  away: ['edge', 'cloud', 'RabbitMQ', 'PostgreSQL'],
  proof: { missing: 0, intact: true, events: 1_234_000_000, atMs: 121_000 },
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
  expect(lines.length).toBeLessThanOrEqual(24)
  for (const word of [
    'published',
    'acknowledged',
    'buffered',
    'forwarded',
    'stored',
    'repeats',
    'quarantined',
  ])
    expect(lines.join('\n')).toContain(word)
})

test.each([
  [80, 23],
  [60, 19],
  [40, 11],
  [20, 8],
])('a terminal of %i columns and %i lines shows the keys, whatever else has no room', (columns, rows) => {
  const lines = renderView(state, { columns, rows, colour: false })
  expect(lines.length).toBeLessThanOrEqual(rows)
  for (const key of state.keys) expect(lines.join(' ')).toContain(key.slice(0, 12))
  for (const word of ['Tidegat', 'ackno', 'stored']) expect(lines.join('\n')).toContain(word)
})

const note = (from: string, text: string) => ({
  at: '09:41:07',
  from,
  text,
  level: 'info' as const,
  times: 1,
})

test('what was done stays among the notes, however much the programs repeat', () => {
  const notes = [
    note('run', 'the uplink is taken down'),
    note('run', 'kill -9 of the edge'),
    ...Array.from({ length: 20 }, (_, index) => note('edge', `reading quarantined ${index}`)),
    note('run', 'the uplink is up again'),
  ]
  const text = renderView({ ...state, notes }, { columns: 100, colour: false }).join('\n')
  for (const done of ['taken down', 'kill -9 of the edge', 'up again']) expect(text).toContain(done)
  expect(text.match(/reading quarantined/g)).toHaveLength(3)
})

test('the proof says what was found and how long ago, and where there is none, that', () => {
  expect(renderView(state, { columns: 100, colour: false }).join('\n')).toContain(
    'missing 0 · chain intact  1,234,000,000 events, 12 s ago',
  )
  const broken = { missing: 2, intact: false, events: 10, atMs: 133_000 }
  expect(
    renderView({ ...state, snapshot: { ...snapshot, proof: broken } }, { columns: 100, colour: false }).join(
      '\n',
    ),
  ).toContain('missing 2 · chain BROKEN')
  expect(
    renderView(
      { ...state, snapshot: { ...snapshot, proof: undefined } },
      { columns: 100, colour: false },
    ).join('\n'),
  ).toContain('proof     not yet')
})

test('the label of the graph is of what the graph shows', () => {
  const depths = [1332, ...Array.from({ length: 100 }, () => 1056)]
  expect(renderView({ ...state, depths }, { columns: 80, colour: false }).join('\n')).toContain('up to 1,056')
})

test('without colour there is not one escape sequence', () => {
  expect(renderView(state, { columns: 80, colour: false }).join('')).not.toContain('\u001b')
  expect(renderView(state, { columns: 80, colour: true }).join('')).toContain('\u001b[31m')
})

test('a cut line ends its colour', () => {
  expect(clip('\u001b[31mabcdef\u001b[39m', 4)).toBe('\u001b[31mabc…\u001b[0m')
})

test('the sparkline shows an empty buffer flat and the deepest full', () => {
  expect(sparkline([0, 1, 100])).toBe('▁▂█')
  expect(sparkline([0, 0])).toBe('▁▁')
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
