import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import {
  type Consumer,
  defineConsumer,
  type SingleConsumerOptions,
  Unavailable,
} from '../../../../cloud/consumer.ts'
import { judge } from '../../../../cloud/testing/laws/judge.ts'
import { ConsumerTables } from '../../../../cloud/testing/laws/tables-postgres.ts'
import { openTestDatabase, type TestDatabase } from '../../../../cloud/testing/test-database.ts'
import { type LawOptions, type LawReport, testConsumer } from '../../../../cloud/testing/testing.ts'
import { loadSchemas } from '../../../../src/schemas/folder.ts'
import { folderSource } from '../../../../src/schemas/source.ts'
import { loadUpcasts } from '../../../../src/schemas/upcast/folder.ts'
import { createReadAs } from '../../../../src/schemas/upcast/read-as.ts'

const type = 'com.acme.climate'
const sql = `create table counts (device text primary key, events int not null, hottest numeric);
create table sites (site text primary key, last_device text, at timestamptz);
create table named (t jsonb primary key, number bigint generated always as identity,
  device text default lower('NOBODY'), read_at timestamptz default now(), token uuid default gen_random_uuid());
create table places (id bigserial primary key, name text unique);
create table visits (place bigint references places, device text, unique (place, device))`

const log = { debug() {}, info() {}, warn() {}, error() {} }
const registry = loadSchemas('schemas')
const group = 'counter'
let opened: TestDatabase
let tables: ConsumerTables

beforeAll(async () => {
  opened = await openTestDatabase({ group, sql, url: undefined, log })
  tables = await ConsumerTables.of(opened.database)
}, 300_000)
afterAll(() => opened.close())

/** What `laws` says of a consumer, in a database that all of them share: one of its own takes each of them a second. */
async function judged(tried: Consumer, options: LawOptions = {}): Promise<LawReport> {
  const readAs = createReadAs(registry, await loadUpcasts(folderSource('schemas'), registry))
  const parts = { schemas: registry, readAs, folder: 'schemas', database: opened.database, tables, log }
  return judge(
    { ...parts, consumer: tried, startMs: Date.UTC(2026, 0, 1) },
    { runs: 3, events: 5, ...options },
  )
}

const consumer = (handle: SingleConsumerOptions['handle']): Consumer =>
  defineConsumer({ group, types: [type], retry: ['5s'], handle })

const broken = (law: string, ...says: RegExp[]): object => ({
  code: 'LAW_BROKEN',
  message: expect.toSatisfy(
    (message: string) =>
      message.includes(`breaks the law "${law}"`) && says.every((said) => said.test(message)),
    `of ${law}, with ${says.join(' and ')}`,
  ) as string,
})

function failing(): void {
  throw Object.assign(new Error('no site'), { code: 'SITE_UNKNOWN' })
}

const temperatureOf = ({ data }: { data: unknown }): number => (data as { temperature: number }).temperature

describe('laws', { timeout: 300_000 }, () => {
  test('are kept by a consumer whose effects are in its transaction, also where they add up', async () => {
    const counting = consumer(async (event, { tx }) => {
      await tx.query`insert into counts values (${event.device}, 1, ${temperatureOf(event)})
        on conflict (device) do update set events = counts.events + 1, hottest = greatest(counts.hottest, excluded.hottest)`
    })
    const t = await testConsumer(counting, { sql })
    expect(await t.laws({ runs: 3, events: 5 })).toEqual({
      seed: 1,
      laws: ['limits', 'twice', 'cut', 'crash-before-commit', 'crash-after-commit', 'order', 'attempt'],
      cases: 3,
      executions: 21,
      effective: 3,
      uncompared: ['public.named.number', 'public.named.read_at', 'public.named.token', 'public.places.id'],
    })
    await t.close()
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
        /by this event:\n {4}\S+Z device-1 com\.acme\.climate\/\d \{"temperature":0\}\n/,
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
      group,
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
    await expect(judged(last, { runs: 10 })).rejects.toMatchObject(broken('order', /by these 2 events:/))
    expect(await judged(last, { except: ['order'] })).toMatchObject({ cases: 3, executions: 18 })
    const latest = consumer(async (event, { tx }) => {
      await tx.query`insert into sites values ('plant', ${event.device}, ${event.time})
        on conflict (site) do update set last_device = excluded.last_device, at = excluded.at
        where (excluded.at, excluded.last_device) >= (sites.at, sites.last_device)`
    })
    expect(await judged(latest)).toMatchObject({ effective: 3 })
  })

  test('compare all columns that a handler writes, whatever they are called, and rows that are referred to in place of their numbers', async () => {
    const written = consumer(async (event, { tx }) => {
      await tx.query`insert into named (t) values (${JSON.stringify({ id: event.id, at: event.time })})`
      await tx.query`insert into places (name) values (${`of ${event.device}`}) on conflict do nothing`
      await tx.query`insert into visits select id, ${event.device} from places
        where name = ${`of ${event.device}`} on conflict do nothing`
    })
    expect(await judged(written, { runs: 2 })).toMatchObject({ effective: 2 })
    let calls = 0
    const options = { reset: () => void (calls = 0), runs: 5 }
    const counting = consumer(async ({ id }, { tx }) => {
      await tx.query`insert into named (t, device) values (${JSON.stringify(id)}, ${String(++calls)})`
    })
    await expect(judged(counting, options)).rejects.toMatchObject(broken('order', /public\.named, here:/))
    const elsewhere = consumer(async (event, { tx }) => {
      await tx.query`insert into places (name) values ('a'), ('b') on conflict do nothing`
      await tx.query`insert into visits select id, ${event.device} from places
        where name = ${++calls % 2 ? 'a' : 'b'} on conflict do nothing`
    })
    await expect(judged(elsewhere, options)).rejects.toMatchObject(
      broken('order', /"place": \{"name": "[ab]"\}/),
    )
  })

  test('find what waits for ever: a device that is held, or a handler that is never available', async () => {
    // oxlint-disable-next-line unicorn/no-thenable -- an option's name
    const held = defineConsumer({ group, types: [type], retry: ['5s'], then: 'hold', handle: failing })
    await expect(judged(held)).rejects.toMatchObject(
      broken('limits', /by this event:/, /SITE_UNKNOWN: no site, and waits/),
    )
    expect(await judged(held, { runs: 1, events: 3, expected: ['SITE_UNKNOWN'] })).toMatchObject({
      effective: 1,
    })
    const away = consumer(() => {
      throw new Unavailable('the CRM is down')
    })
    await expect(judged(away)).rejects.toMatchObject(
      broken('limits', /by this event:/, /the CRM is down, and waits/),
    )
  })

  test('find what is not done again when an attempt has failed', async () => {
    const once = consumer(async (event, { tx, attempt }) => {
      if (attempt === 1) await tx.query`insert into counts values (${event.device}, 1) on conflict do nothing`
    })
    await expect(judged(once)).rejects.toMatchObject(broken('attempt', /by this event:/, /here:\n {4}no row/))
    const hurried = defineConsumer({ group, types: [type], retry: [], handle() {} })
    expect((await judged(hurried, { runs: 1, mayDoNothing: true })).laws).not.toContain('attempt')
  })

  test('say nothing of a consumer of which nothing is seen, unless that is meant', async () => {
    const nothing = consumer(() => {})
    await expect(judged(nothing, { runs: 1 })).rejects.toMatchObject({ code: 'LAW_VACUOUS' })
    expect(await judged(nothing, { runs: 1, mayDoNothing: true })).toMatchObject({ effective: 0 })
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
    const placeless = consumer(failing)
    await expect(judged(placeless, { runs: 1 })).rejects.toMatchObject(
      broken('limits', /SITE_UNKNOWN: no site/),
    )
    expect(await judged(placeless, { runs: 1, expected: ['SITE_UNKNOWN'] })).toMatchObject({ cases: 1 })
  })

  test('are the same for the same seed, and need events', async () => {
    const seen: unknown[] = []
    const seeing = consumer(({ data, time }) => void seen.push(data, time))
    const options: LawOptions = { seed: 7, runs: 2, only: ['cut'], mayDoNothing: true }
    await judged(seeing, options)
    const first = seen.splice(0)
    await judged(seeing, options)
    expect(seen.splice(0)).toEqual(first)
    await judged(seeing, { ...options, seed: 8 })
    expect(seen).not.toEqual(first)
    const without = defineConsumer({ group, types: ['com.acme.none'], handle() {} })
    await expect(judged(without)).rejects.toMatchObject({ code: 'LAW_WITHOUT_EVENTS' })
    const samples = { 'com.acme.none': [{ a: 1 }] }
    expect(await judged(without, { ...options, samples, runs: 1 })).toMatchObject({ cases: 1 })
  })
})
