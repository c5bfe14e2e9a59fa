import { expect, test } from 'vitest'
import type { Snapshot } from '../../dev/snapshot.ts'
import { clip, renderLine, renderView, sparkline, visibleLength, type ViewState } from '../../dev/view.ts'

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
const state: ViewState = {
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
  expect(renderLine(snapshot)).toContain('uplink stalled')
  expect(renderLine({ ...snapshot, link: { kind: 'up' } })).toContain('uplink reconnecting')
  expect(renderLine(snapshot)).toContain('away: edge, cloud')
})
