import { expect, test } from 'vitest'
import type { Group } from '../../../cloud/groups/group.ts'
import { noReplays } from '../../../cloud/letters/upkeep.ts'
import { readiness } from '../../../cloud/ops/readiness.ts'
import type { Pipeline } from '../../../cloud/pipeline/pipeline.ts'
import { TidegateError } from '../../../src/errors.ts'
import { Ledger, posted } from '../../support/cloud/cloud-events.ts'
import { partitions, setUp, writing } from '../../support/cloud/test-pipeline.ts'
import { settled } from '../../support/fakes/clock.ts'

test('a group that is held says by what, why, and what to do about it', () => {
  const held = new TidegateError('DATABASE_DENIED', {
    message: 'the database at db:5432/x does not let our user do what it must: permission denied (42501)',
    retryable: false,
    hint: 'give it its rights back',
  })
  const group = {
    name: 'history',
    progress: () => ({ ok: true, waiting: 3, stalledMs: 0 }),
    deliveries: { subscribed: true },
    former: { draining: 0, drained: 0 },
    heldBy: held,
    lanesStarvedMs: [0],
  } as unknown as Group
  const checks = readiness({
    groups: [group],
    starveAfterMs: 1,
    horizon: { ageMs: () => 0, heldBy: undefined },
    databaseFault: () => `${held.code}: ${held.message}`,
    brokersUp: () => ({}),
    projections: () => [],
    unheld: () => [],
    retired: () => ({ group: 'rollups', waiting: 0 }),
    findings: () => undefined,
    partitions: () => undefined,
    letters: () => [],
    unattended: () => [],
    schemas: {
      inUse: {
        origin: 'none' as const,
        digest: undefined,
        revision: undefined,
        types: 0,
        absent: [],
        fault: undefined,
      },
      unknown: { counts: new Map() },
    },
    replays: () => noReplays,
    tls: { daysLeft: () => ({}), faulty: () => ({}) },
  })
  expect(checks['group.history']).toEqual({
    ok: false,
    detail: `3 in flight, held by DATABASE_DENIED: ${held.message}; give it its rights back`,
  })
  expect(checks['database']).toEqual({ ok: false, detail: `DATABASE_DENIED: ${held.message}` })
})

/** Of a group that has moved just now. */
function readyOf(pipeline: Pipeline, starveAfterMs: number): object {
  const group = {
    name: 'writer',
    progress: () => ({ ok: true, waiting: pipeline.inFlight, stalledMs: 0 }),
    deliveries: { subscribed: true },
    former: { draining: 0, drained: 0 },
    heldBy: pipeline.heldBy,
    lanesStarvedMs: pipeline.lanesStarvedMs,
  } as unknown as Group
  const checks = readiness({
    groups: [group],
    starveAfterMs,
    horizon: { ageMs: () => 0, heldBy: undefined },
    databaseFault: () => undefined,
    brokersUp: () => ({}),
    projections: () => [],
    unheld: () => [],
    retired: () => ({ group: 'rollups', waiting: 0 }),
    findings: () => undefined,
    partitions: () => undefined,
    letters: () => [],
    unattended: () => [],
    schemas: {
      inUse: {
        origin: 'none' as const,
        digest: undefined,
        revision: undefined,
        types: 0,
        absent: [],
        fault: undefined,
      },
      unknown: { counts: new Map() },
    },
    replays: () => noReplays,
    tls: { daysLeft: () => ({}), faulty: () => ({}) },
  })
  return checks['group.writer'] ?? {}
}

test('a group that moves is not ready while a lane of it starves, which is named, and is ready again after that', async () => {
  const { broker, clock, storage, start } = setUp(
    writing({
      retry: [],
      async handle({ partitionkey }) {
        if (partitionkey === 'hanging') await new Promise(() => {})
      },
    }),
    { pipeline: { lanes: 1 } },
  )
  const { pipeline } = start('a')
  const ready = (): object => readyOf(pipeline, 60_000)
  const ledger = new Ledger()
  for (const device of ['hanging', 'hanging', 'hanging']) broker.post(posted(ledger.next(device), partitions))
  await settled()
  broker.post(posted(ledger.next('healthy'), partitions))
  await clock.advance(58_000)
  expect(ready()).toMatchObject({ ok: true })
  await clock.advance(4_000)
  // Three events of 30 s each, one after the other; what came behind them waits for the third.
  expect(ready()).toEqual({
    ok: false,
    detail: '4 in flight, lane 0 has waited for failing attempts for 62 s',
  })
  await clock.advance(28_000)
  expect(storage.dead()).toHaveLength(3)
  expect(pipeline.lanesStarvedMs).toEqual([0])
  expect(ready()).toMatchObject({ ok: true })
})

test('a group that works off a backlog is ready, however long what it has in hand waits for its turn', async () => {
  const { broker, clock, start } = setUp(
    writing({
      async handle() {
        await clock.sleep(200)
      },
    }),
    { pipeline: { lanes: 1 } },
  )
  const ledger = new Ledger()
  for (let index = 0; index < 1_600; index++) broker.post(posted(ledger.next('device-1'), partitions))
  const { pipeline } = start('a')
  await settled()
  const seen: object[] = []
  for (let second = 0; second < 310; second++) {
    await clock.advance(1_000)
    seen.push(readyOf(pipeline, 10_000))
  }
  expect(pipeline.inFlight).toBeGreaterThan(0)
  expect(seen.filter((one) => 'ok' in one && !one.ok)).toEqual([])
})

test('what has waited for an outage to end does not starve once it has', async () => {
  let isDown = true
  const outage = new TidegateError('DATABASE_UNREACHABLE', { message: 'away', retryable: true, hint: '' })
  const { broker, clock, start } = setUp(
    writing({
      async handle() {
        await clock.sleep(1_000)
        if (isDown) throw outage
      },
    }),
    { pipeline: { lanes: 1 } },
  )
  const ledger = new Ledger()
  for (let index = 0; index < 20; index++) broker.post(posted(ledger.next('device-1'), partitions))
  const { pipeline } = start('a')
  await settled()
  await clock.advance(120_000)
  expect(readyOf(pipeline, 10_000)).toMatchObject({
    ok: false,
    detail: expect.stringContaining('held by') as string,
  })
  isDown = false
  await clock.advance(10_000)
  expect(pipeline.inFlight).toBeGreaterThan(0)
  expect(readyOf(pipeline, 10_000)).toMatchObject({ ok: true })
})

const projectionReadyOf = (doing: 'working' | 'halted', retryable?: boolean) => {
  const fault =
    retryable === undefined
      ? undefined
      : new TidegateError('PROJECTION_HALTED', { message: 'it cannot', retryable, hint: 'mend it' })
  const checks = readiness({
    groups: [],
    starveAfterMs: 1,
    horizon: { ageMs: () => 0, heldBy: undefined },
    databaseFault: () => undefined,
    brokersUp: () => ({}),
    projections: () => [{ name: 'energy', version: 3, doing, fault, lagMs: 0, applied: 0 }],
    unheld: () => [],
    retired: () => ({ group: 'rollups', waiting: 0 }),
    findings: () => undefined,
    partitions: () => undefined,
    letters: () => [],
    unattended: () => [],
    schemas: {
      inUse: {
        origin: 'none' as const,
        digest: undefined,
        revision: undefined,
        types: 0,
        absent: [],
        fault: undefined,
      },
      unknown: { counts: new Map() },
    },
    replays: () => noReplays,
    tls: { daysLeft: () => ({}), faulty: () => ({}) },
  })
  return checks['projection.energy.3']
}

test('a projection that has stopped at an event is told of, and takes no events from anybody', () => {
  expect(projectionReadyOf('working')).toEqual({ ok: true, detail: 'working' })
  expect(projectionReadyOf('working', true)).toMatchObject({ ok: true })
  expect(projectionReadyOf('halted', false)).toEqual({
    ok: true,
    detail: 'halted, PROJECTION_HALTED: it cannot; mend it',
  })
})
