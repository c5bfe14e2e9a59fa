import { randomUUID } from 'node:crypto'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { shapes } from '../../../cloud/projections/built-in/shapes.ts'
import { askJob } from '../../../cloud/projections/deeds-postgres.ts'
import { type Encoded, Ledger } from '../../support/cloud/cloud-events.ts'
import { openProjectionBench, type ProjectionBench } from '../../support/cloud/projection-bench.ts'

let bench: ProjectionBench
let ledger: Ledger
beforeEach(async () => {
  bench = await openProjectionBench()
  ledger = new Ledger()
})
afterEach(() => bench.close())

const climate = 'com.acme.climate'
const reading = (data: unknown, version?: number, more: object = {}): Encoded =>
  ledger.next('sensor-1', {
    data,
    ...(version !== undefined && { dataschema: `${climate}/${version}` }),
    ...more,
  })

const ask = async (kind: 'compare' | 'rebuild-device', device?: string): Promise<unknown> => {
  const job = randomUUID()
  await bench.transact((tx) => askJob(tx, { name: 'shapes', version: 1, job, kind, device, sample: 100 }))
  const { outcome } = await bench.until<{ outcome: unknown }>(
    `select outcome from tidegate.projection_jobs where job = '${job}' and ended_at is not null`,
    (row) => row !== undefined,
  )
  return outcome
}

const all = () => bench.rows('select * from projection.shapes order by type, week, version, pointer')

describe('the projection shapes', () => {
  test('says by type, version, week and place what there was', async () => {
    await bench.store([
      reading({ t: 21.5, site: 'north' }, 1),
      reading({ t: null }, 1),
      reading({ t: 'warm' }, 2),
      reading({ t: 4 }),
      reading({ t: 5 }, 1, { recordedtime: '2026-01-05T00:00:00.000Z' }),
    ])
    bench.start([shapes])
    await bench.live('shapes')
    const rows = await bench.rows(
      `select version, to_char(week at time zone 'UTC', 'YYYY-MM-DD') as week, integers::int, fractions::int, nulls::int, strings::int,
         least, greatest, "values" from projection.shapes where type = $1 and pointer = '/t' order by week, version`,
      [climate],
    )
    expect(rows).toMatchObject([
      { version: 0, week: '2025-12-29', integers: 1, values: [4] },
      {
        version: 1,
        week: '2025-12-29',
        fractions: 1,
        nulls: 1,
        least: 21.5,
        greatest: 21.5,
        values: [21.5, null],
      },
      { version: 2, week: '2025-12-29', strings: 1, least: null, values: ['warm'] },
      { version: 1, week: '2026-01-05', integers: 1, least: 5, greatest: 5 },
    ])
  })

  test('is the same made anew as made live, whatever was sent, in whatever batches', async () => {
    const deep = JSON.parse(`${'{"a":['.repeat(30)}1${']}'.repeat(30)}`) as unknown
    const strange: unknown[] = [
      { 'a\0b': 'c\0', '\ud800': '\udc00', '*': 1, '~2': [2], 'a/b': { '': true }, constructor: 1 },
      JSON.parse('{"__proto__": 1}'),
      deep,
      Object.fromEntries(Array.from({ length: 1000 }, (_, at) => [`m${at}`, at])),
      Array.from({ length: 100 }, (_, at) => [at / 3, `text ${at}`]),
      [],
      'x'.repeat(5000),
      -0,
      1e300,
      null,
    ]
    const events = (): Encoded[] => [
      ...strange.map((data, at) => reading(data, at % 3)),
      ...strange.map((data) => reading(data, 1, { type: 'com.acme.other', dataschema: 'com.acme.other/1' })),
      ...Array.from({ length: 60 }, (_, at) => reading({ t: at / 7, code: `K-${at}` }, 1)),
    ]
    await bench.store(events())
    bench.start([shapes])
    await bench.live('shapes')
    const first = events()
    // A number that JSON has and a double has not.
    const huge = reading({ t: 'HUGE' }, 1)
    await bench.store([{ ...huge, text: huge.text.replace('"HUGE"', '1e400') }])
    await bench.live('shapes')
    for (const event of first) await bench.store([event])
    await bench.live('shapes')
    const live = await all()
    expect(live.length).toBeGreaterThan(400)
    expect(await ask('compare')).toMatchObject({ sampled: 2, same: true, differing: [] })
    expect(await ask('rebuild-device', climate)).toMatchObject({ applied: 141 })
    expect(await all()).toEqual(live)
  })

  test('of a type in a week so many versions have one, and of others nothing is counted (G7)', async () => {
    await bench.store(Array.from({ length: 70 }, (_, at) => reading({ t: at }, at + 1)))
    await bench.store(Array.from({ length: 70 }, (_, at) => reading({ t: at }, at + 1)))
    bench.start([shapes])
    await bench.live('shapes')
    const [row] = await bench.rows<{ versions: number; events: number }>(
      `select count(*)::int as versions, sum(objects)::int as events from projection.shapes where pointer = ''`,
    )
    expect(row).toEqual({ versions: 64, events: 128 })
  })
})
