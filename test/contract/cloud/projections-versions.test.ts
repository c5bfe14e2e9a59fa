import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { resumeVersion } from '../../../cloud/projections/deeds-postgres.ts'
import { defineProjection } from '../../../cloud/projections/definition.ts'
import { rollups, rollupsDefault } from '../../../cloud/projections/built-in/rollups.ts'
import { createReadAs } from '../../../src/schemas/upcast/read-as.ts'
import { applySteps, type Step } from '../../../src/schemas/upcast/steps.ts'
import { Ledger } from '../../support/cloud/cloud-events.ts'
import { openProjectionBench, type ProjectionBench } from '../../support/cloud/projection-bench.ts'
import { registryOf } from '../../support/fakes/schemas.ts'

const type = 'com.acme.climate'
const needs = (name: string) => (data: unknown) =>
  Object.hasOwn(data as object, name) ? [] : [`data: must have ${name}`]
/** From Fahrenheit under one name to degrees Celsius under another. */
const steps: readonly Step[] = [
  { kind: 'unit', path: ['f'], scale: 1, offset: -32 },
  { kind: 'unit', path: ['f'], scale: 5 / 9, offset: 0 },
  { kind: 'move', from: ['f'], to: ['c'] },
]
const readAsOf = (versions: Readonly<Record<number, (data: unknown) => string[]>>) =>
  createReadAs(registryOf({ [type]: versions }), {
    find: (_, from, to) =>
      from === 1 ? { from, to, steps, apply: (data) => applySteps(data, steps) } : undefined,
  })
const known = { 1: needs('f'), 2: needs('c') }

const degrees = defineProjection({
  name: 'degrees',
  version: 1,
  events: { [type]: 2 },
  tables: 'create table degrees (device text, cursor text primary key, c numeric, dataschema text)',
  async apply(events, { tx }) {
    for (const { partitionkey, cursor, data, dataschema } of events)
      await tx.query('insert into degrees values ($1, $2, $3, $4)', [
        partitionkey,
        cursor,
        (data as { c: number }).c,
        dataschema,
      ])
  },
})

let bench: ProjectionBench
const ledger = new Ledger()
const event = (device: string, version: number, data: object) =>
  ledger.next(device, { type, data, dataschema: `${type}/${version}` })
beforeEach(async () => {
  bench = await openProjectionBench()
})
afterEach(() => bench.close())

const applied = () =>
  bench.rows('select device, c::float8, dataschema from projection_degrees_1.degrees order by cursor')

test('a projection that asks for a version has every event in it, and history what was said (G8)', async () => {
  await bench.store([event('old', 1, { f: 212 }), event('new', 2, { c: 21 })])
  bench.start([degrees], { readAs: readAsOf(known) })
  await bench.live('degrees')
  expect(await applied()).toEqual([
    { device: 'old', c: 100, dataschema: `${type}/2` },
    { device: 'new', c: 21, dataschema: `${type}/2` },
  ])
  expect(
    await bench.rows(
      `select body->'data' as data, body->>'dataschema' as dataschema from tidegate.events order by position`,
    ),
  ).toEqual([
    { data: { f: 212 }, dataschema: `${type}/1` },
    { data: { c: 21 }, dataschema: `${type}/2` },
  ])
})

test('waits at an event of a version that is not known here, and goes on by itself when it is (G5)', async () => {
  await bench.store([
    event('old', 1, { f: 32 }),
    event('newest', 3, { c: 1, k: 2 }),
    event('old', 1, { f: 212 }),
  ])
  const waiting = bench.start([degrees], { readAs: readAsOf(known) })
  await vi.waitFor(
    () =>
      expect(waiting.statuses()[0]).toMatchObject({
        doing: 'halted',
        fault: { code: 'PROJECTION_HALTED', message: expect.stringContaining('SCHEMA_UNKNOWN') as string },
      }),
    20_000,
  )
  await vi.waitFor(async () => expect(await applied()).toHaveLength(1), 20_000)
  await waiting.close()
  bench.start([degrees], { readAs: readAsOf({ ...known, 3: needs('k') }) })
  await bench.live('degrees')
  expect(await applied()).toMatchObject([{ c: 0 }, { c: 1, dataschema: `${type}/2` }, { c: 100 }])
})

test('tries an event that waits for a schema again when other schemas are in use, without another start (G5)', async () => {
  await bench.store([event('newest', 3, { c: 1, k: 2 })])
  let read = readAsOf(known)
  const started = bench.start([degrees], { readAs: (...asked) => read(...asked) })
  await vi.waitFor(() => expect(started.statuses()[0]).toMatchObject({ doing: 'halted' }), 20_000)
  read = readAsOf({ ...known, 3: needs('k') })
  started.schemasChanged()
  await bench.live('degrees')
  expect(await applied()).toMatchObject([{ c: 1, dataschema: `${type}/2` }])
})

test('derives nothing with other upcasters than it was built with, and goes on with those of before (G8)', async () => {
  await bench.store([event('old', 1, { f: 32 })])
  let upcasters = ['1-2 a']
  const started = bench.start([degrees], { readAs: readAsOf(known), upcastersTo: () => upcasters })
  await bench.live('degrees')
  upcasters = ['1-2 b']
  started.schemasChanged()
  await bench.store([event('old', 1, { f: 212 })])
  await vi.waitFor(
    () => expect(started.statuses()[0]).toMatchObject({ fault: { code: 'PROJECTION_CHANGED' } }),
    20_000,
  )
  expect(await applied()).toHaveLength(1)
  upcasters = ['1-2 a']
  started.schemasChanged()
  await vi.waitFor(async () => expect(await applied()).toHaveLength(2), 30_000)
})

test('goes on without an event that waits for a schema, if an operator leaves it out: one device stops the others no longer than that (G7)', async () => {
  const unknown = event('newest', 3, { c: 1, k: 2 })
  await bench.store([unknown, event('old', 1, { f: 212 })])
  const waiting = bench.start([degrees], { readAs: readAsOf(known) })
  await vi.waitFor(() => expect(waiting.statuses()[0]).toMatchObject({ doing: 'halted' }), 20_000)
  const key = { name: 'degrees', version: 1 }
  await bench.transact((tx) => resumeVersion(tx, { ...key, skip: unknown.event.id }))
  await bench.live('degrees')
  expect(await applied()).toMatchObject([{ c: 100 }])
})

test('stops at an event that cannot be brought forward, and says why', async () => {
  await bench.store([event('old', 1, { f: 32 }), event('odd', 1, { f: 32, c: 1 }), event('odd', 1, { g: 1 })])
  const started = bench.start([degrees], { readAs: readAsOf(known) })
  await vi.waitFor(
    () =>
      expect(started.statuses()[0]).toMatchObject({
        doing: 'halted',
        fault: { code: 'PROJECTION_HALTED', message: expect.stringContaining('UPCAST_FAILED') as string },
      }),
    20_000,
  )
  expect(await applied()).toHaveLength(2)
})

test('rollups that ask for a version have numbers of one unit, whatever devices send', async () => {
  await bench.store([event('d', 1, { f: 212 }), event('d', 2, { c: 50 })])
  bench.start([rollups({ ...rollupsDefault, version: 2, versions: { [type]: 2 } })], {
    readAs: readAsOf(known),
  })
  await bench.live('rollups', 2)
  expect(
    await bench.rows(
      `select distinct field, min, max from projection_rollups_2.rollups where type = '${type}' and width = 'hour'`,
    ),
  ).toEqual([{ field: 'c', min: 50, max: 100 }])
})
