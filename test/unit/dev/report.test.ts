import { expect, test } from 'vitest'
import { createBook } from '../../../dev/fleet/book.ts'
import { createLatencies } from '../../../dev/fleet/latencies.ts'
import { renderPlot, ticks } from '../../../dev/report/plot.ts'
import { createRecorder, rates } from '../../../dev/watch/recorder.ts'
import { renderHtml } from '../../../dev/report/html.ts'
import { balance, renderBooks, type Accounts, type Report } from '../../../dev/report/report.ts'
import type { Fate } from '../../../dev/fleet/sensors.ts'
import type { Snapshot } from '../../../dev/watch/snapshot.ts'
import { snapshot } from '../../support/dev/snapshot.ts'
import { locate } from '../../../dev/evidence/whereabouts.ts'

/** Without what is read from files. */
const bare = { style: '', script: '' }

/** A run in which all went as promised: 10 stored, 3 rejected, 2 repeats, 1 of 1970. */
function accounts(): Accounts {
  const book = createBook()
  const say = (deviceId: string, fate: Fate, n: number): void => {
    const message = { topic: '', payload: '', fate, n }
    book.published(deviceId, message)
    book.acknowledged(deviceId, message, 5)
  }
  for (let n = 1; n <= 8; n += 1) say('sensor-001', 'stored', n)
  for (let n = 1; n <= 2; n += 1) {
    say('trouble-repeat', 'stored', n)
    say('trouble-repeat', 'repeat', n)
  }
  for (let n = 1; n <= 3; n += 1) say('trouble-schema', 'rejected', n)
  say('trouble-past', 'implausible', 1)
  const none = { accepted: 0, rejected: 0, dead: 0, implausible: 0, reasons: {} }
  const row = { count: 14, p50: 10, p99: 20 }
  return {
    run: {
      id: 'r',
      seed: 7,
      gateway: 'gateway-1',
      startedAt: '2026-01-01T00:00:00.000Z',
      durationMs: 30_000,
      drainMs: 500,
      devices: 4,
      eventsPerSecond: 5,
      versions: { Node: 'v20' },
      mode: 'simulate',
      skippedRows: 0,
    },
    totals: book.totals(),
    misdeeds: {
      repeat: book.totals('trouble-repeat'),
      schema: book.totals('trouble-schema'),
      past: book.totals('trouble-past'),
    },
    resent: 0,
    maxBuffered: 9,
    faults: [],
    findings: {
      devices: {
        'sensor-001': { ...none, accepted: 8 },
        'trouble-repeat': { ...none, accepted: 2 },
        'trouble-schema': { ...none, rejected: 3, reasons: { SCHEMA_VIOLATION: 3 } },
        'trouble-past': { ...none, accepted: 1, implausible: 1 },
      },
      byType: { 'com.x.y': 11, 'dev.tidegate.rejected': 3 },
      storedTwice: 0,
      missing: { count: 0, first: [] },
      latency: { all: row, live: row, backlog: { count: 0, p50: 0, p99: 0 } },
      deadLetters: 0,
      duplicates: 2,
      leftInOutbox: 0,
      audit: { kind: 'passed', detail: 'passed', faults: 0, ledgers: [] },
    },
  }
}

test('books that balance count every event once', () => {
  const report = balance(accounts())
  expect(report).toMatchObject({
    balanced: true,
    published: 14,
    acknowledged: 14,
    stored: 14,
    duplicates: 2,
    missing: 0,
    storedTwice: 0,
    quarantined: 3,
    expectedQuarantined: 3,
    deadLetters: 0,
    maxBuffered: 9,
    latencyMs: { p50: 10, p99: 20 },
  })
  expect(renderBooks(report)).not.toContain('NO')
})

test('the books say what they count: how much is wrong, and out of how much', () => {
  const lossy = accounts()
  lossy.findings.missing.count = 1
  lossy.totals.byFate.stored.acknowledged = lossy.totals.acknowledged = 6387
  const books = renderBooks(balance(lossy))
  expect(books).toMatch(
    /NO +every acknowledged event is in the history .* missing: 0 of 6,387 +missing: 1 of 6,387/,
  )
  expect(books).toMatch(/ok +no event is in the history twice .* twice: 0 of 14/)
  expect(books).toMatch(/ok +the outbox is empty at the end +empty +empty/)
})

const breaches: [string, (broken: Accounts) => void][] = [
  ['an acknowledged event that is missing', ({ findings }) => (findings.missing.count = 1)],
  ['an event stored twice', ({ findings }) => (findings.storedTwice = 1)],
  ['an event nobody published', ({ findings }) => (device(findings, 'sensor-001').accepted += 1)],
  ['a message without its PUBACK', ({ totals }) => (totals.unacknowledged = 1)],
  ['a rejection that is not recorded', ({ findings }) => (device(findings, 'trouble-schema').rejected = 2)],
  ['a dead letter', ({ findings }) => (findings.deadLetters = 1)],
  ['a repeat that was let through', ({ findings }) => (findings.duplicates = 1)],
  ['a drop that nobody can explain', ({ findings }) => (findings.duplicates = 3)],
  ['an event left in the outbox', ({ findings }) => (findings.leftInOutbox = 1)],
  [
    'a reading of 1970 that was believed',
    ({ findings }) => (device(findings, 'trouble-past').implausible = 0),
  ],
  ['a wrong reason', ({ findings }) => (device(findings, 'trouble-schema').reasons = { MALFORMED_JSON: 3 })],
  [
    'an audit that found a gap',
    ({ findings }) => (findings.audit = { kind: 'failed', detail: '1 gap', faults: 0, ledgers: [] }),
  ],
]

function device({ devices }: Accounts['findings'], id: string) {
  const row = devices[id]
  if (!row) throw new Error(`no ${id}`)
  return row
}

test.each(breaches)('%s is a breach, and the table names it', (_, breach) => {
  const broken = accounts()
  breach(broken)
  const report = balance(broken)
  expect(report.balanced).toBe(false)
  expect(renderBooks(report)).toMatch(/^NO /m)
})

test('a kill of the edge may forget a count', () => {
  const forgot = accounts()
  forgot.faults = [{ kind: 'kill', target: 'edge', fromMs: 0, untilMs: 1 }]
  forgot.findings.duplicates = 0
  expect(balance(forgot).balanced).toBe(true)
})

test('percentiles are within two per cent, whatever the number of values', () => {
  const latencies = createLatencies()
  for (let value = 1; value <= 10_000; value += 1) latencies.add(value)
  const { p50, p99, max, count } = latencies.summary()
  expect(p50).toBeGreaterThan(4900)
  expect(p50).toBeLessThan(5100)
  expect(p99).toBeGreaterThan(9700)
  expect(p99).toBeLessThanOrEqual(10_000)
  expect({ max, count }).toEqual({ max: 10_000, count: 10_000 })
  expect(createLatencies().summary()).toEqual({ count: 0, p50: 0, p99: 0, max: 0 })
})

function sample(elapsedMs: number, stored: number): Snapshot {
  const buffered = elapsedMs === 500 ? 42 : 0
  return snapshot(elapsedMs, { published: stored, acknowledged: stored, forwarded: stored, stored, buffered })
}

test('rates are means over their window, and a long run is kept in bounded memory', () => {
  const recorder = createRecorder()
  for (let tick = 0; tick < 20_000; tick += 1) recorder.add(sample(tick * 250, tick * 25))
  expect(recorder.samples.length).toBeLessThan(4000)
  expect(recorder.maxBuffered).toBe(42)
  const points = rates(recorder.samples, ({ stored }) => stored, 1000)
  for (const [, perSecond] of points) expect(perSecond).toBeCloseTo(100)
})

test('a rate stands at the middle of its window: what was forwarded then is not shown as stored before', () => {
  const samples = [0, 250, 500, 750, 1000].map((elapsedMs) => sample(elapsedMs, elapsedMs / 10))
  expect(rates(samples, ({ stored }) => stored, 1000).at(-1)).toEqual([0.5, 100])
})

test('ticks are round numbers that reach the highest value', () => {
  expect(ticks(0, 97, 4)).toEqual([0, 50, 100])
  expect(ticks(0, 0.3, 4)).toEqual([0, 0.1, 0.2, 0.3])
})

test('the page is one well-formed file that asks no network for anything and escapes what it shows', () => {
  const named = accounts()
  named.run.gateway = '<img src=x onerror=alert(1)>'
  named.faults = [{ kind: 'kill', target: 'edge', fromMs: 1000, untilMs: 2000 }]
  const recorder = createRecorder()
  for (let tick = 0; tick < 100; tick += 1) recorder.add(sample(tick * 250, tick * 25))
  const course = { latency: [{ seconds: 0.5, p50: 3, p99: 900 }], stored: [{ seconds: 2.5, count: 100 }] }
  const html = renderHtml({ report: balance(named), recording: recorder, course }, bare)
  expect(html).not.toMatch(/https?:\/\//)
  expect(html).not.toContain('<img')
  expect(html.split('<script')[0]).not.toMatch(/NaN|undefined|Infinity/)
  expect(html).toContain('The books balance')
  for (const tag of ['svg', 'section', 'table', 'main', 'g', 'figure'])
    expect(html.split(`<${tag}`).filter((part) => /^[\s>]/.test(part)).length).toBe(
      html.split(`</${tag}>`).length - 1,
    )
})

test('the page of a run that lost events says which, where the others are and what to do, and escapes it', () => {
  const lossy = accounts()
  lossy.findings.missing = { count: 30, first: [] }
  for (let n = 0; n < 30; n += 1)
    lossy.findings.missing.first.push({ source: '/devices/sensor-001', id: `<b>${n}` })
  const report = balance(lossy)
  expect(report.missingEvents).toHaveLength(20)
  report.missingEvents = report.missingEvents.map((event) => locate(event, [], false))
  report.evidence = {
    folder: '/kept',
    file: '/kept/evidence.json',
    missing: 30,
    searched: 30,
    places: [{ where: 'nowhere', place: 'nowhere: it is lost', events: 30 }],
    looked: [],
    blind: ['q holds <many>'],
    accounted: 0,
    toLook: ['npx tidegate outbox inspect --data-dir /kept/edge'],
  }
  const page = pageOf(report)
  for (const text of [
    'nowhere: it is lost',
    '/kept/evidence.json',
    'outbox inspect',
    'q holds &lt;many&gt;',
    '&lt;b&gt;7',
  ])
    expect(page).toContain(text)
  expect(page).not.toContain('<b>')
  expect(pageOf(balance(accounts()))).not.toContain('What is missing')
})

function pageOf(report: Report): string {
  return renderHtml({ report, recording: createRecorder(), course: { latency: [], stored: [] } }, bare)
}

test('the page has one unit for the times of faults, groups large numbers and rounds no run up', () => {
  const long = accounts()
  long.run.durationMs = 120_519
  long.totals.unacknowledged = 121_022
  long.faults = [
    { kind: 'down', target: 'uplink', fromMs: 30_519, untilMs: 90_520 },
    { kind: 'kill', target: 'edge', fromMs: 101_979, untilMs: 108_335 },
  ]
  const page = pageOf(balance(long))
  for (const text of ['for 2:00,', '30.5 s', '60.0 s', '102.0 s', '6.4 s', 'open: 121,022 of 16'])
    expect(page).toContain(text)
})

test('the page counts what was not kept, a misdeed that ended elsewhere as well', () => {
  const broken = accounts()
  device(broken.findings, 'trouble-schema').reasons = { MALFORMED_JSON: 3 }
  expect(pageOf(balance(broken))).toContain('1 of 13 promises was not kept')
  broken.findings.missing.count = 1
  expect(pageOf(balance(broken))).toContain('2 of 13 promises were not kept')
})

test('a run without a single value still has a plot', () => {
  const panel = {
    title: 'x',
    unit: 'y',
    scale: 'log' as const,
    height: 100,
    format: String,
    lines: [{ name: 'a', id: 'a', points: [] }],
  }
  expect(renderPlot({ panels: [panel], bands: [], xMax: 0 })).not.toMatch(/NaN|Infinity/)
})
