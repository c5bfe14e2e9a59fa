import { Connection } from 'rabbitmq-client'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { formerPartitionQueues, partitionOf, partitionQueue } from '../../../src/contract/wire.ts'
import { Ledger } from '../../support/cloud/cloud-events.ts'
import { deedOf, type DeedsBench, openDeedsBench } from '../../support/cloud/deeds-bench.ts'

const until = <T>(check: () => Promise<T>): Promise<T> => vi.waitFor(check, { timeout: 30_000, interval: 50 })

/** Leaves a row each time it runs; fails while there is a row for its device, and waits while there is one for `wait`. */
const consumer = (from: string): string => `
export default {
  group: 'tariffs',
  types: ['com.acme.#'],
  ${from}
  async handle(event, { tx, replay }) {
    while ((await tx.query('select from public.held where device = $1', [event.partitionkey])).rowCount > 0)
      await new Promise((done) => setTimeout(done, 50))
    const broken = await tx.query('select from public.broken where device = $1', [event.partitionkey])
    if (broken.rowCount > 0) throw Object.assign(new Error('down'), { code: 'DOWN', retryable: true })
    await tx.query('insert into public.had (sequence, of_history) values ($1, $2)', [event.sequence, replay?.of === 'history'])
  },
}`

let bench: DeedsBench
let ledger: Ledger
beforeEach(async () => {
  bench = await openDeedsBench()
  ledger = new Ledger()
  await bench.rows(`create table public.had (n bigint generated always as identity, sequence bigint, of_history boolean);
    create table public.held (device text); grant select, insert on public.had, public.held to public`)
})
afterEach(() => bench.close())

const start = (from?: string): ReturnType<DeedsBench['start']> =>
  bench.start({
    consumers: ['history', ...(from === undefined ? [] : [{ module: bench.module(consumer(from)) }])],
    retry: { ladder: ['100ms', '200ms'] },
    protection: { killSwitch: false },
  })

async function publish(devices: readonly string[], each: number): Promise<void> {
  await bench.publish(Array.from({ length: each }, () => devices.map((device) => ledger.next(device))).flat())
  await until(async () =>
    expect(await bench.rows(`select from tidegate.events where gateway = 'gateway-1'`)).toHaveLength(
      ledger.sequence,
    ),
  )
}

const had = (): Promise<{ sequence: number; ofHistory: boolean }[]> =>
  bench.rows('select sequence::int as sequence, of_history as "ofHistory" from public.had order by n')

const starts = (): Promise<{ state: string; replay: number }[]> =>
  bench.rows(`select state, replay::float8 as replay from tidegate.replays where source = 'start'`)

async function deleteQueues(): Promise<void> {
  const connection = new Connection({ url: bench.url })
  for (let partition = 0; partition < bench.partitions; partition++)
    for (const queue of [
      partitionQueue('tariffs', partition),
      ...formerPartitionQueues('tariffs', partition),
    ])
      await connection.queueDelete({ queue })
  await connection.close()
}

describe('a group that says from: beginning', () => {
  test('and was here before gets nothing of history, also when its queues are gone with their broker, whether it had an event or not (G4)', async () => {
    const first = await start(`from: 'now',`)
    await publish(['device-1'], 3)
    await until(async () => expect(await had()).toHaveLength(3))
    await first.stop()
    await deleteQueues()
    await start(`from: 'beginning',`)
    await publish(['device-1'], 1)
    await until(async () => expect(await had()).toHaveLength(4))
    expect(await starts()).toEqual([])
    // As one without an inbox of its own: nothing says that it was here but that it was started.
    expect(await bench.rows(`select name from tidegate.inbox_groups where name = 'history'`)).toHaveLength(1)
  }, 90_000)

  test('has letters of what fails on the way, nothing of which stays in its queues, and is not over before (G5, G7)', async () => {
    const devices = Array.from({ length: 8 }, (_, index) => `device-${index}`)
    const [failing = '', ...others] = devices
    const held = others.find((one) => partitionOf(one, 4) !== partitionOf(failing, 4)) ?? ''
    const before = await start()
    await publish(devices, 10)
    await before.stop()
    await bench.breakDevice(failing)
    await bench.rows('insert into public.held values ($1)', [held])
    await start(`from: 'beginning',`)
    await until(async () => expect(await bench.letters('tariffs')).toHaveLength(10))
    for (let partition = 0; partition < bench.partitions; partition++)
      expect(await bench.depth(partitionQueue('tariffs', partition))).toBeLessThan(1)
    expect(await starts()).toMatchObject([{ state: 'running' }])
    await bench.rows('delete from public.held')
    await until(async () => expect(await starts()).toMatchObject([{ state: 'done' }]))
    expect(new Set((await had()).map(({ sequence }) => sequence)).size).toBe(70)
    await publish(['device-7'], 1)
    await until(async () => expect((await had()).at(-1)).toEqual({ sequence: 81, ofHistory: false }))
  }, 90_000)

  test('and does not any more on its way is refused until somebody ends it, which needs no consumer of it (G4)', async () => {
    const before = await start()
    await publish(['device-1'], 3)
    await before.stop()
    await bench.rows(`insert into public.held values ('device-1')`)
    const first = await start(`from: 'beginning',`)
    await until(async () => expect(await starts()).toMatchObject([{ state: 'running' }]))
    await first.stop()
    await expect(start(`from: 'now',`)).rejects.toMatchObject({ code: 'GROUP_BEGINS' })
    const without = await start()
    const [{ replay } = { replay: 0 }] = await starts()
    await bench.deeds.stopReplay(deedOf({ replay }))
    await until(async () => expect(await starts()).toMatchObject([{ state: 'stopped' }]))
    await expect(bench.deeds.resumeReplay(deedOf({ replay }))).rejects.toMatchObject({
      code: 'REPLAY_NOT_RESUMABLE',
    })
    await without.stop()
    await bench.rows('delete from public.held')
    await start(`from: 'now',`)
    await publish(['device-1'], 1)
    await until(async () => expect(await had()).toEqual([{ sequence: 4, ofHistory: false }]))
  }, 90_000)
})
