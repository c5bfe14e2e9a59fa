import { randomUUID } from 'node:crypto'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { askJob } from '../../../cloud/projections/deeds-postgres.ts'
import type { Projection } from '../../../cloud/projections/definition.ts'
import { Ledger } from '../../support/cloud/cloud-events.ts'
import { openProjectionBench, type ProjectionBench } from '../../support/cloud/projection-bench.ts'

let bench: ProjectionBench
let ledger: Ledger

beforeEach(async () => {
  bench = await openProjectionBench()
  ledger = new Ledger()
})
afterEach(() => bench.close())

const power = (device: string, time: string, watts: unknown) =>
  ledger.next(device, { type: 'com.acme.power', time, data: { watts } })

async function startEnergy(): Promise<void> {
  const { href } = new URL('../../../config/projections/energy.js', import.meta.url)
  const { default: energy } = (await import(/* @vite-ignore */ href)) as { default: Projection }
  bench.start([energy])
  await bench.live('energy')
}

async function compared(): Promise<unknown> {
  const job = randomUUID()
  await bench.transact((tx) =>
    askJob(tx, { name: 'energy', version: 1, job, kind: 'compare', device: undefined, sample: 5 }),
  )
  const { outcome } = await bench.until<{ outcome: unknown }>(
    `select outcome from tidegate.projection_jobs where job = '${job}' and ended_at is not null`,
    (row) => row !== undefined,
  )
  return outcome
}

const at = (minute: number): string => new Date(Date.UTC(2026, 0, 1, 0, minute)).toISOString()

const sums = () => bench.rows('select device, day::text, joules from projection.energy order by 1, 2')

test('energy, as a user has written it, is the same again from history', async () => {
  await bench.store([
    power('meter-1', '2026-01-01T23:59:00.000Z', 100),
    power('meter-2', '2026-01-01T12:00:00.000Z', 5),
    power('meter-1', '2026-01-02T00:01:00.000Z', 50),
    power('meter-1', '2026-01-02T00:00:30.000Z', 999),
  ])
  await startEnergy()
  await bench.store([power('meter-1', '2026-01-02T02:00:00.000Z', 0)])
  await bench.live('energy')
  expect(await sums()).toEqual([
    { device: 'meter-1', day: '2026-01-01', joules: '6000.000000' },
    { device: 'meter-1', day: '2026-01-02', joules: '51000.000000' },
  ])
  expect(await compared()).toMatchObject({ sampled: 2, same: true })
})

test('energy comes to the same sum however events are cut into batches', async () => {
  await startEnergy()
  for (let index = 0; index < 40; index++) {
    await bench.store([power('meter-1', at(index), 0.1 * index + 0.37)])
    await bench.live('energy')
  }
  expect(await compared()).toMatchObject({ sampled: 1, same: true })
})

test('energy stops at nothing that a meter may say', async () => {
  await startEnergy()
  await bench.store([
    power('meter-1', at(0), 10),
    ...[null, '12', 1.9e305, -1.9e305, {}, [], true].map((watts) => power('meter-1', at(1), watts)),
    ...[null, 'x', 7, []].map((data) => ledger.next('meter-1', { type: 'com.acme.power', data })),
    power('meter-1', at(2), 0),
  ])
  await bench.live('energy')
  expect(await sums()).toEqual([{ device: 'meter-1', day: '2026-01-01', joules: '1200.000000' }])
})
