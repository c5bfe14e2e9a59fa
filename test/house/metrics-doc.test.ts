import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import type { Delivery } from '../../cloud/amqp/delivery.ts'
import type { Group } from '../../cloud/groups/group.ts'
import { noReplays } from '../../cloud/letters/upkeep.ts'
import { createMetrics as createCloudMetrics } from '../../cloud/ops/metrics.ts'
import { createMetrics as createEdgeMetrics } from '../../edge/ops/metrics.ts'
import type { OutboxStats } from '../../edge/outbox/outbox.ts'
import { createUplinkState } from '../../edge/ops/uplink-state.ts'
import { systemClock } from '../../src/clock.ts'
import type { Event } from '../../src/contract/event.ts'
import { noSchemasUsed } from '../../src/contract/schemas-used.ts'

const root = join(import.meta.dirname, '../..')
const table = readFileSync(join(root, 'docs/METRICS.md'), 'utf8')
const operations = readFileSync(join(root, 'docs/OPERATIONS.md'), 'utf8')
/** What prom-client adds of every Node process: told in one sentence. */
const ofNode = /^tidegate_edge_(process|nodejs)_/

const emptyOutbox: OutboxStats = {
  epoch: '',
  lastSequence: 0,
  depth: { high: 0, normal: 0 },
  bytes: { high: 0, normal: 0 },
  backlog: 0,
  inFlight: 0,
  pausing: false,
  oldestAgeMs: { high: 0, normal: 0 },
  waiting: 0,
  stuckMs: 0,
  refusing: undefined,
  devices: 0,
  rememberedIds: 0,
  unsigned: { events: 0, ageMs: 0 },
}

const idleGroup = {
  name: 'alerts',
  inFlight: 0,
  active: 0,
  lanesStarvedMs: [0],
  parked: { retrying: 0, held: 0, events: 0, oldestMs: 0 },
  heldBy: undefined,
  former: { draining: 0, drained: 0 },
  progress: () => ({ ok: true, waiting: 0, stalledMs: 0 }),
} as unknown as Group

/** Both sides as they are when they have just started. */
function started() {
  const edge = createEdgeMetrics()
  edge.watch({
    stats: () => emptyOutbox,
    uplink: createUplinkState(systemClock),
    certificates: () => ({ mqtt: 90 }),
    crlSecondsLeft: () => ({ mqtt: 86_400 }),
    tlsFaulty: () => ({ crl: 0 }),
    lists: () => ({ number: 0, ageS: -1, refused: 0 }),
    schemas: {
      use: new Map([['com.acme.climate/1', { named: 1, route: 0, fit: 0 }]]),
      seen: () => ({
        used: noSchemasUsed,
        confirmedMs: undefined,
        changes: 0,
        refused: { unreachable: 0, invalid: 0, older: 0, unusable: 0, unkept: 0 },
      }),
    },
    diskWriteBytes: () => 0,
  })
  const cloud = createCloudMetrics()
  cloud.watch({
    groups: [idleGroup],
    letters: () => [],
    schemas: {
      inUse: {
        origin: 'registry' as const,
        digest: 'a'.repeat(64),
        revision: 3,
        types: 1,
        absent: [],
        fault: undefined,
      },
      unknown: { counts: new Map([['com.acme.climate/9', 1]]) },
    },
    unattended: () => [{ group: 'gone', devices: 1 }],
    replays: () => noReplays,
    starveAfterMs: 300_000,
    horizon: { ageMs: () => 0, heldBy: undefined },
    databaseFault: () => undefined,
    brokersUp: () => ({ consume: true, publish: true }),
    projections: () => [
      { name: 'latest', version: 1, doing: 'working', fault: undefined, lagMs: 0, applied: 0 },
    ],
    unheld: () => [],
    retired: () => ({ group: 'rollups', waiting: 0 }),
    findings: () => ({ loss: 0, harmless: 0 }),
    partitions: () => ({ weeksAhead: 2, otherEvents: 0 }),
    tls: { daysLeft: () => ({ broker: 90 }), faulty: () => ({ broker: 0 }) },
  })
  const text = async (): Promise<string> => (await edge.text()) + (await cloud.text())
  return { cloud, text }
}

interface Series {
  name: string
  labels: string
  value: number
}

function seriesIn(text: string): Series[] {
  return [...text.matchAll(/^([a-z_]+)(?:\{(.*)\})? (\S+)$/gm)].map(([, name = '', labels = '', value]) => ({
    name,
    labels,
    value: Number(value),
  }))
}

test('METRICS.md has a line for every metric there is, with its type and labels, and for no other', async () => {
  const { cloud, text } = started()
  // Codes and results are labels that come with what happens.
  cloud.observer.transaction('alerts', 1, 1, 'committed')
  const event = { recordedtime: '2026-01-01T00:00:00.000Z' } as Event
  cloud.observer.applied('alerts', event, { arrivedAtMs: 0, attempt: 1 } as Delivery, 0)
  cloud.observer.failed('alerts', 'retry', 'ANY', 1)
  cloud.observer.held('alerts', 'ANY')
  cloud.api.answered('GET /v1/me', 200, 1)
  const now = await text()
  const series = seriesIn(now)
  const there = [...now.matchAll(/^# TYPE (\S+) (\S+)$/gm)]
    .filter(([, name = '']) => !ofNode.test(name))
    .map(([, name = '', type = '']) => {
      const labels = series
        .filter((one) => one.name.replace(type === 'histogram' ? /_(bucket|sum|count)$/ : '', '') === name)
        .flatMap((one) => [...one.labels.matchAll(/([a-z]+)="/g)].map(([, label]) => label as string))
      return { name, type, labels: [...new Set(labels)].filter((label) => label !== 'le').toSorted() }
    })
  const told = table
    .split('\n')
    .filter((line) => line.startsWith('| `tidegate_'))
    .map((line) => line.split('|').map((cell) => cell.trim()))
    .map(([, name = '', type = '', labels = '', unit = '', meaning = '']) => {
      expect([name, unit, meaning]).not.toContain('')
      const words = [...labels.matchAll(/`([a-z]+)`/g)].map(([, label]) => label as string)
      return { name: name.replaceAll('`', ''), type, labels: words.toSorted() }
    })
  expect(there.length).toBeGreaterThan(45)
  expect(told.toSorted(byName)).toEqual(there.toSorted(byName))
})

test('every counter that an alarm watches for an increase is there before it first increases', async () => {
  const series = seriesIn(await started().text())
  const watched = [...operations.matchAll(/increase\((tidegate_[a-z_]+)(?:\{([^}]*)\})?\[/g)]
  expect(watched.length).toBeGreaterThan(4)
  for (const [, name = '', label = ''] of watched) {
    const values = series.filter((one) => one.name === name && one.labels.includes(label))
    expect([name, ...new Set(values.map(({ value }) => value))]).toEqual([name, 0])
  }
})

test('no document names a metric that is not there', async () => {
  const text = await started().text()
  const names = new Set([...text.matchAll(/^# TYPE (\S+)/gm)].map(([, name]) => name))
  const pages = ['README.md', ...readdirSync(join(root, 'docs')).map((name) => `docs/${name}`)]
  const told = pages
    .filter((path) => path.endsWith('.md'))
    .flatMap((path) =>
      [...readFileSync(join(root, path), 'utf8').matchAll(/\btidegate_(?:edge|cloud)_[a-z_]*[a-z]\b/g)].map(
        ([name]) => ({ path, name }),
      ),
    )
  expect(told.length).toBeGreaterThan(80)
  expect(told.filter(({ name }) => !names.has(name.replace(/_(bucket|sum|count)$/, '')))).toEqual([])
})

function byName(a: { name: string }, b: { name: string }): number {
  return a.name < b.name ? -1 : 1
}
