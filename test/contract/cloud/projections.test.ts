import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { latest } from '../../../cloud/projections/latest.ts'
import { Ledger } from '../../support/cloud/cloud-events.ts'
import { counting, openProjectionBench, type ProjectionBench } from '../../support/cloud/projection-bench.ts'

let bench: ProjectionBench
let ledger: Ledger

beforeEach(async () => {
  bench = await openProjectionBench()
  ledger = new Ledger()
})
afterEach(() => bench.close())

const counted = (view = 'projection.counting') =>
  bench.rows<{ device: string; sequences: string[] }>(`select device, sequences from ${view} order by 1`)

describe('a projection', () => {
  test('has each event once, in order, those of before and those that come (G4)', async () => {
    await bench.store([ledger.next('a'), ledger.next('b'), ledger.next('a')])
    bench.start([counting()])
    await bench.live('counting')
    await bench.store([ledger.next('a')])
    await bench.live('counting')
    expect(await counted()).toEqual([
      { device: 'a', sequences: ['1', '3', '4'] },
      { device: 'b', sequences: ['2'] },
    ])
  })

  test('is of what was accepted, and of the types it wants', async () => {
    await bench.store([ledger.next('a')], 'rejected')
    await bench.store([ledger.next('a'), ledger.next('a', { type: 'org.other.climate' })])
    bench.start([counting()])
    await bench.live('counting')
    expect(await counted()).toEqual([{ device: 'a', sequences: ['2'] }])
  })
})

test('latest has the last event of each device and type by its time, whatever is in it', async () => {
  const at = (second: number): string => `2026-01-01T00:00:0${second}.000Z`
  await bench.store([
    ledger.next('a', { time: at(2), data: { n: 2 } }),
    ledger.next('a', { time: at(1), data: { n: 1 } }),
    ledger.next('a', { type: 'com.acme.power', time: at(1), data: 'x\0y' }),
    ledger.next('b', { data: { 'k\0': '\ud800', fine: '\\u0000' } }),
    ledger.next('b', { type: 'com.acme.null', data: null }),
  ])
  bench.start([latest])
  await bench.live('latest')
  const rows = await bench.rows('select device, type, data from projection.latest order by device, type')
  expect(rows).toEqual([
    { device: 'a', type: 'com.acme.climate', data: { n: 2 } },
    { device: 'a', type: 'com.acme.power', data: 'x\ufffdy' },
    { device: 'b', type: 'com.acme.climate', data: { 'k\ufffd': '\ufffd', fine: '\\u0000' } },
    { device: 'b', type: 'com.acme.null', data: null },
  ])
})
