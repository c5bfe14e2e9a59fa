import { describe, expect, test } from 'vitest'
import { type Consumer, defineConsumer, type SingleConsumerOptions } from '../../../../cloud/consumer.ts'
import { type LawOptions, type LawReport, testConsumer } from '../../../../cloud/testing/testing.ts'

const type = 'com.acme.climate'
const sql = `create table counts (device text primary key, events int not null, hottest numeric);
create table sites (site text primary key, last_device text)`

/** What `laws` says of a consumer. */
async function judged(consumer: Consumer, options: LawOptions = {}): Promise<LawReport> {
  const t = await testConsumer(consumer, { sql })
  try {
    return await t.laws(options)
  } finally {
    await t.close()
  }
}

const consumer = (handle: SingleConsumerOptions['handle']): Consumer =>
  defineConsumer({ group: 'counter', types: [type], handle })

const broken = (law: string, ...says: RegExp[]): object => ({
  code: 'LAW_BROKEN',
  message: expect.toSatisfy(
    (message: string) =>
      message.includes(`breaks the law "${law}"`) && says.every((said) => said.test(message)),
    `of ${law}, with ${says.join(' and ')}`,
  ) as string,
})

const temperatureOf = ({ data }: { data: unknown }): number => (data as { temperature: number }).temperature

describe('laws', { timeout: 180_000 }, () => {
  test('are kept by a consumer whose effects are in its transaction, also where they add up', async () => {
    const counting = consumer(async (event, { tx }) => {
      await tx.query`insert into counts values (${event.device}, 1, ${temperatureOf(event)})
        on conflict (device) do update set events = counts.events + 1, hottest = greatest(counts.hottest, excluded.hottest)`
    })
    expect(await judged(counting)).toEqual({
      seed: 1,
      laws: ['limits', 'twice', 'cut', 'crash-before-commit', 'crash-after-commit', 'order'],
      cases: 10,
      executions: 60,
    })
  })

  test('find an effect outside of the transaction, by one event', async () => {
    const sirens: string[] = []
    const options = { reset: () => void sirens.splice(0), outside: () => sirens.toSorted() }
    await expect(
      judged(
        consumer(({ id }) => void sirens.push(id)),
        options,
      ),
    ).rejects.toMatchObject(
      broken(
        'crash-before-commit',
        /by this event:\n {4}device-1 com\.acme\.climate\/\d \{"temperature":0\}\n/,
        /seed 1$/,
      ),
    )
  })

  test('find what is remembered outside of the transaction, by what it makes of the tables', async () => {
    const counts = new Map<string, number>()
    const remembering = consumer(async (event, { tx }) => {
      const count = (counts.get(event.device) ?? 0) + 1
      counts.set(event.device, count)
      await tx.query`insert into counts values (${event.device}, ${count})
        on conflict (device) do update set events = excluded.events`
    })
    await expect(judged(remembering, { reset: () => counts.clear() })).rejects.toMatchObject(
      broken('crash-before-commit', /public\.counts, here:\n.*"events": 2/),
    )
  })

  test('find an upsert that is not the same twice, of a consumer that keeps its effects single itself', async () => {
    const own = defineConsumer({
      group: 'counter',
      types: [type],
      dedup: 'own',
      async handleBatch(entries, { tx }) {
        for (const { event } of entries)
          await tx.query`insert into counts values (${event.partitionkey}, 1)
            on conflict (device) do update set events = counts.events + 1`
      },
    })
    await expect(judged(own)).rejects.toMatchObject(broken('twice', /by this event:/, /"events": 2/))
  })

  test('find what depends on the order between devices, by two events', async () => {
    const last = consumer(async (event, { tx }) => {
      await tx.query`insert into sites values ('plant', ${event.device})
        on conflict (site) do update set last_device = excluded.last_device`
    })
    await expect(judged(last)).rejects.toMatchObject(broken('order', /by these 2 events:/))
    expect(await judged(last, { except: ['order'], runs: 3 })).toMatchObject({ cases: 3, executions: 15 })
  })

  test('find data that the schema allows and the tables do not, and no failure that is meant', async () => {
    const whole = consumer(async (event, { tx }) => {
      await tx.query`insert into counts values (${event.device}, ${temperatureOf(event)}) on conflict do nothing`
    })
    await expect(judged(whole)).rejects.toMatchObject(
      broken('limits', /failed with 22P02: invalid input syntax for type integer/),
    )
    const refusing = consumer(() => {
      throw Object.assign(new Error('unit not known'), { code: 'UNIT_UNKNOWN', retryable: false })
    })
    expect(await judged(refusing, { runs: 2 })).toMatchObject({ cases: 2 })
    const failing = consumer(() => {
      throw Object.assign(new Error('no site'), { code: 'SITE_UNKNOWN' })
    })
    await expect(judged(failing, { runs: 1 })).rejects.toMatchObject(
      broken('limits', /SITE_UNKNOWN: no site/),
    )
    expect(await judged(failing, { runs: 1, expected: ['SITE_UNKNOWN'] })).toMatchObject({ cases: 1 })
  })

  test('are the same for the same seed, and need events', async () => {
    const seen: unknown[] = []
    const seeing = consumer(({ data }) => void seen.push(data))
    await judged(seeing, { seed: 7, runs: 2 })
    const first = seen.splice(0)
    await judged(seeing, { seed: 7, runs: 2 })
    expect(seen.splice(0)).toEqual(first)
    await judged(seeing, { seed: 8, runs: 2 })
    expect(seen).not.toEqual(first)
    const without = defineConsumer({ group: 'g', types: ['com.acme.none'], handle() {} })
    await expect(judged(without)).rejects.toMatchObject({ code: 'LAW_WITHOUT_EVENTS' })
    expect(await judged(without, { samples: { 'com.acme.none': [{ a: 1 }] }, runs: 1 })).toMatchObject({
      cases: 1,
    })
  })
})
