import { describe, expect, expectTypeOf, test } from 'vitest'
import type { BatchContext, HandlerContext } from 'tidegate/consumer'
import { defineConsumer } from '../../../cloud/pipeline/consumer.ts'
import { type BatchContextOf, configured, type Handler } from '../../../cloud/pipeline/definition.ts'
import { createBreakers } from '../../../cloud/protection/breakers.ts'
import type { Queryable, Transaction } from '../../../cloud/database/storage.ts'
import { silentLog } from '../../../src/log.ts'
import { Ledger } from '../../support/cloud/cloud-events.ts'
import { createFakeStorage } from '../../support/fakes/storage.ts'

const { signal } = new AbortController()
const { event, text } = new Ledger().next('device-1')

/** Calls the handler as the pipeline does, with all of a transaction. */
async function call(handler: Handler): Promise<ReturnType<typeof createFakeStorage>> {
  const storage = createFakeStorage()
  await storage.transaction(async (tx) => {
    const context: BatchContextOf<Transaction> = {
      tx,
      log: silentLog,
      signal,
      breaker: createBreakers()(signal),
    }
    if (handler.kind === 'batch') await handler.handleBatch([{ event, text, fault: undefined }], context)
    else await handler.handle(event, { ...context, attempt: 1, delivery: undefined as never })
  }, signal)
  return storage
}

describe('of its transaction a user’s handler sees', () => {
  test('tx.query and nothing else, by its type', () => {
    expectTypeOf<keyof HandlerContext['tx']>().toEqualTypeOf<'query'>()
    expectTypeOf<keyof BatchContext['tx']>().toEqualTypeOf<'query'>()
  })

  test.each(['single', 'batch'] as const)('tx.query and nothing else, when it runs (%s)', async (kind) => {
    const seen: Queryable[] = []
    const keep = async (tx: Queryable): Promise<void> => {
      seen.push(tx)
      await tx.query('insert', [kind])
    }
    const about = { group: 'g', types: ['#'] }
    const { handler } =
      kind === 'single'
        ? defineConsumer({ ...about, handle: (_, { tx }) => keep(tx) })
        : defineConsumer({ ...about, handleBatch: (_, { tx }) => keep(tx) })
    const storage = await call(handler)
    expect(seen.map((tx) => Object.keys(tx))).toEqual([['query']])
    expect(['run', 'inbox', 'history', 'rollups'].filter((name) => name in (seen[0] as object))).toEqual([])
    expect(storage.effects()).toEqual([{ sql: 'insert', params: [kind] }])
  })
})

test('a consumer that says events wants these types and no others', () => {
  const consumer = defineConsumer({
    group: 'g',
    events: { 'com.acme.climate': 2, 'com.acme.power': 1 },
    handle() {},
  })
  expect(consumer.types).toEqual(['com.acme.climate', 'com.acme.power'])
  expect(['com.acme.climate', 'com.acme.powers', 'com.acme'].map((type) => consumer.wants(type))).toEqual([
    true,
    false,
    false,
  ])
})

test('a query that is a tag has what is in its braces as parameters, and nothing of it as SQL', async () => {
  const device = "x'); drop table alerts; --"
  const storage = await call(
    defineConsumer({
      group: 'g',
      types: ['#'],
      async handle(_, { tx }) {
        await tx.query`insert into alerts values (${device}, ${1}, ${null})`
        await tx.query`select 1`
        await tx.query('select $1', [2])
        await tx.query('select 3')
      },
    }).handler,
  )
  expect(storage.effects()).toEqual([
    { sql: 'insert into alerts values ($1, $2, $3)', params: [device, 1, null] },
    { sql: 'select 1', params: [] },
    { sql: 'select $1', params: [2] },
    { sql: 'select 3', params: [] },
  ])
})

test('a query that is a tag reaches the database as it is written, and no value of it becomes another number', async () => {
  const seen: unknown[] = []
  const storage = await call(
    defineConsumer({
      group: 'g',
      types: ['#'],
      async handle(_, { tx }) {
        await tx.query`select ${1} where a ~ '^\d+\u' and b = E'\n' and c = '\`' and d = '\${'`
        try {
          await tx.query`select ${1}0`
        } catch (error) {
          seen.push(error)
        }
        const list = ['select 1'] as unknown as TemplateStringsArray
        await tx.query(list)
      },
    }).handler,
  )
  expect(storage.effects()).toEqual([
    { sql: `select $1 where a ~ '^\\d+\\u' and b = E'\\n' and c = '\`' and d = '\${'`, params: [1] },
    { sql: ['select 1'], params: [] },
  ])
  expect(seen).toMatchObject([{ code: 'QUERY_INVALID', retryable: false }])
})

test('an event names its device, which is no part of its JSON', async () => {
  const seen: unknown[] = []
  const { handler } = defineConsumer({
    group: 'g',
    types: ['#'],
    handle: (handed) => void seen.push(handed.device, JSON.stringify(handed), { ...handed }),
  })
  await call(handler)
  await call(handler)
  expect(seen).toEqual(['device-1', text, JSON.parse(text), 'device-1', text, JSON.parse(text)])
})

test('what a consumer says of its retries and its timeout wins over what is configured', () => {
  const defaults = { ladderMs: [5_000], timeoutMs: 30_000 }
  const about = { group: 'g', types: ['#'], handle() {} }
  expect(configured(defineConsumer(about), defaults)).toMatchObject(defaults)
  const own = defineConsumer({ ...about, retry: ['1s', '2s'], timeout: '7s' })
  expect(configured(own, defaults)).toMatchObject({ ladderMs: [1_000, 2_000], timeoutMs: 7_000 })
  expect(configured(defineConsumer({ ...about, retry: [] }), defaults).ladderMs).toEqual([])
})
