import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import type { Logger } from '../../../src/log.ts'
import { createStreams } from '../../../cloud/api/reads/streams.ts'
import { createDatabase as poolOf, type Database } from '../../../cloud/database/database-postgres.ts'
import { postgresStorage } from '../../../cloud/database/storage-postgres.ts'
import { readHeld } from '../../../cloud/history/horizon-postgres.ts'
import { watchHorizon } from '../../../cloud/history/horizon-watch.ts'
import { postgresReader } from '../../../cloud/history/reader-postgres.ts'
import { silentLog } from '../../../src/log.ts'
import { allReadable } from '../../support/cloud/history-filled.ts'
import { messagesOf } from '../../support/cloud/history-readers.ts'
import { type ServedApi, serveApi } from '../../support/cloud/served-api.ts'
import { createDatabase, createRoles, type Role } from '../../support/servers.ts'
import { FakeClock, settled } from '../../support/fakes/clock.ts'

let served: ServedApi
let owner: Database
beforeAll(async () => {
  served = await serveApi()
  owner = poolOf({ url: served.databaseUrl, poolMax: 4, applicationName: 'test' })
  await append(1, 30)
  await allReadable(owner)
})
afterAll(async () => {
  await owner.close()
  await served.close()
})

const appendSql = `
insert into tidegate.events (gateway, epoch, sequence, source, id, type, time, recorded_time, disposition, body)
select 'gateway-1', 'epoch', n, '/devices/sensor-' || n % 3, 'id-' || n,
  case when n % 2 = 0 then 'com.acme.power' else 'com.acme.climate' end, t, t, 'accepted',
  ('{"id":"id-' || n || '",' || chr(10) || '"data":{"value":1.0}}')::json
from generate_series($1::int, $2::int) as n, lateral (select '2026-01-01T00:00:00Z'::timestamptz + n * interval '1 minute' as t) as x`

const append = (from: number, to: number) => owner.query(appendSql, [from, to])

interface EventsPage {
  items: { id: string; cursor: string; type: string; event: unknown }[]
  next: string
  more: boolean
}

async function asked(path: string, token: string): Promise<EventsPage> {
  const answer = await served.get(path, token)
  expect([path, answer.status]).toEqual([path, 200])
  return (await answer.json()) as EventsPage
}

const refusal = async (path: string, token: string): Promise<[number, string]> => {
  const answer = await served.get(path, token)
  return [answer.status, ((await answer.json()) as { code: string }).code]
}

const idsOf = ({ items }: EventsPage): string[] => items.map(({ id }) => id)

describe('events, asked for by HTTP', () => {
  test('are of a type, a device and a time, page by page in one order; the last page says where to go on later', async () => {
    const token = await served.tokenOf('analyst')
    const filter =
      '/v1/events?type=com.acme.power&device=sensor-0&from=2026-01-01T00:06:00Z&until=2026-01-01T00:24:00Z'
    const first = await asked(`${filter}&limit=2`, token)
    expect([idsOf(first), first.more]).toEqual([['id-6', 'id-12'], true])
    expect(first.items[0]).toMatchObject({
      type: 'com.acme.power',
      event: { id: 'id-6', data: { value: 1 } },
    })
    const second = await asked(`${filter}&limit=2&after=${first.next}`, token)
    expect([idsOf(second), second.more]).toEqual([['id-18'], false])
    const nothing = await asked(`/v1/events?after=${second.next}`, token)
    expect([idsOf(nothing), nothing.more]).toEqual([[], false])
  })

  test('are for the right to payloads, and of the types and groups of the token', async () => {
    expect(await refusal('/v1/events', await served.tokenOf('viewer'))).toEqual([403, 'RIGHT_MISSING'])
    expect(await refusal('/v1/events/stream', await served.tokenOf('viewer'))).toEqual([403, 'RIGHT_MISSING'])
    const power = await served.tokenOf('analyst', { types: ['com.acme.power'] })
    const page = await asked('/v1/events?limit=1000', power)
    expect(new Set(page.items.map(({ type }) => type))).toEqual(new Set(['com.acme.power']))
    expect(idsOf(await asked('/v1/events?type=com.acme.climate', power))).toEqual([])
    const alerts = await served.tokenOf('analyst', { groups: ['alerts'] })
    expect(await refusal('/v1/events', alerts)).toEqual([403, 'OUT_OF_SCOPE'])
  })

  test('go on after a cursor alone, not after something else', async () => {
    const token = await served.tokenOf('analyst')
    for (const path of ['/v1/events?after=88120', '/v1/events/stream?after=1.2', '/v1/events?after=a.b.c'])
      expect(await refusal(path, token)).toEqual([400, 'CURSOR_INVALID'])
  })
})

async function streamed(token: string, headers: Record<string, string> = {}) {
  const leaving = new AbortController()
  const response = await fetch(`${served.url}/v1/events/stream`, {
    headers: { authorization: `Bearer ${token}`, ...headers },
    signal: leaving.signal,
  })
  if (response.body === null) throw new Error('no stream')
  return { response, messages: messagesOf(response.body), leave: () => leaving.abort() }
}

describe('a stream of events', () => {
  test('brings what there is, says that this was all, then what is committed, byte by byte; and goes on after the last ID', async () => {
    const token = await served.tokenOf('analyst')
    const { messages, leave } = await streamed(token)
    const ids: string[] = []
    let last = ''
    for await (const { id, data } of messages) {
      if (data === undefined && id !== undefined) break
      if (data === undefined) continue
      expect(data).toContain('"data":{"value":1.0}')
      ids.push((JSON.parse(data) as { id: string }).id)
      last = id ?? last
    }
    expect(ids.slice(0, 30)).toEqual(Array.from({ length: 30 }, (_, index) => `id-${index + 1}`))
    leave()

    const again = await streamed(token, { 'last-event-id': last })
    await append(1001, 1001)
    for await (const { data } of again.messages) {
      if (data === undefined) continue
      expect(JSON.parse(data)).toMatchObject({ id: 'id-1001', event: { data: { value: 1 } } })
      break
    }
    again.leave()
  })

  test('is one of four of somebody; the fifth is told to come later (G7)', async () => {
    const token = await served.tokenOf(['analyst', 'operator'])
    const four = await Promise.all(Array.from({ length: 4 }, () => streamed(token)))
    expect(await refusal('/v1/events/stream', token)).toEqual([429, 'STREAMS_FULL'])
    for (const { leave } of four) leave()
  })
})

describe('HEAD of a stream', () => {
  test('has the fields of one, and takes no place of one (G7)', async () => {
    const token = await served.tokenOf(['analyst', 'viewer'])
    for (let one = 0; one < 6; one++) {
      const head = await fetch(`${served.url}/v1/events/stream`, {
        method: 'HEAD',
        headers: { authorization: `Bearer ${token}` },
      })
      expect([head.status, head.headers.get('content-type')]).toEqual([200, 'text/event-stream'])
    }
  })
})

describe('a cursor of a history that was put back', () => {
  test('is refused, of a page and of a stream', async () => {
    const token = await served.tokenOf('analyst')
    for (const path of ['/v1/events', '/v1/events/stream'])
      expect(await refusal(`${path}?after=2147483000.1.1`, token)).toEqual([409, 'CURSOR_AHEAD'])
  })
})

const beyond = (_: string, __: number, signal: AbortSignal) =>
  new Promise<void>((done) => signal.addEventListener('abort', () => done(), { once: true }))
const putBack = () => Promise.reject(Object.assign(new Error('ahead'), { code: 'CURSOR_AHEAD' }))

describe('a stream', () => {
  const nothing = { events: [], next: '1.1.1', more: false }

  test('ends with its token, also while its client takes nothing, and was opened by nobody at all (G7)', async () => {
    const clock = new FakeClock()
    const streams = createStreams({ read: async () => nothing, tide: { beyond }, clock, log: silentLog })
    const open = (who: string) =>
      streams.open({ after: '', filter: {}, who, untilMs: clock.now() + 30_000 }).getReader()
    const untaken = open('ann')
    await untaken.read()
    const waiting = open('ben')
    await waiting.read()
    await waiting.read()
    const last = waiting.read()
    await settled()
    expect(streams.count).toBe(2)
    await clock.advance(30_000)
    expect(streams.count).toBe(0)
    await expect(untaken.closed).rejects.toThrow('nobody takes')
    expect(await last).toMatchObject({ done: true })
    streams.open({ after: '', filter: {}, who: 'cid' })
    await clock.advance(60_000)
    expect(streams.count).toBe(0)
  })

  test('that finds nothing looks on after a pause, and two of all read at a time (G7)', async () => {
    const clock = new FakeClock()
    let reads = 0
    let underWay = 0
    let most = 0
    const read = async () => {
      reads += 1
      most = Math.max(most, ++underWay)
      await settled()
      underWay -= 1
      return { ...nothing, more: true }
    }
    const streams = createStreams({ read, tide: { beyond }, clock, log: silentLog })
    for (const who of ['ann', 'ben', 'cid', 'dan']) {
      const reader = streams.open({ after: '', filter: {}, who }).getReader()
      await reader.read()
      void reader.read().catch(() => {})
    }
    for (let turn = 0; turn < 10; turn++) await settled()
    expect([reads, most]).toEqual([4, 2])
    streams.close()
  })

  test('whose history was put back ends', async () => {
    const streams = createStreams({ read: putBack, tide: { beyond }, clock: new FakeClock(), log: silentLog })
    const reader = streams.open({ after: '', filter: {}, who: 'ann' }).getReader()
    await reader.read()
    expect(await reader.read()).toMatchObject({ done: true })
    expect(streams.count).toBe(0)
  })
})

describe('a stream that nobody takes', () => {
  test('reads nothing ahead, and is let go after a minute (G7)', async () => {
    const clock = new FakeClock()
    let reads = 0
    const event = {
      cursor: '1.1.1',
      position: 1,
      storedAt: new Date(0),
      recordedAt: new Date(0),
      disposition: 'accepted',
      text: '{}',
    }
    const about = { gateway: 'g', epoch: 'e', sequence: 1, source: 's', id: 'i', type: 't' }
    const streams = createStreams({
      read: async () => ({ events: [{ ...event, ...about }], next: `1.1.${++reads}`, more: true }),
      tide: { beyond: async () => {} },
      clock,
      log: silentLog,
    })
    const reader = streams.open({ after: '', filter: {}, who: 'ann' }).getReader()
    await reader.read()
    await reader.read()
    expect([reads, streams.count]).toEqual([1, 1])
    await clock.advance(60_000)
    await expect(reader.read()).rejects.toThrow('nobody takes')
    expect([reads, streams.count]).toEqual([1, 0])
  })
})

describe('readers of history', () => {
  test('wait for a transaction that does not end, in whichever database, and skip nothing for it; who holds them up is named, also to a user that may not see its state (G4)', async () => {
    const reading = postgresStorage(served.database)
    const pageAfter = (after: string) =>
      reading.transaction(
        async (tx) => postgresReader(tx).read(after, { max: 1000 }),
        new AbortController().signal,
      )
    const elsewhere = poolOf({ url: await createDatabase(), poolMax: 1, applicationName: 'nightly report' })
    const holding = await elsewhere.connect()
    await holding.query('begin')
    await holding.query('select pg_current_xact_id()')
    const before = await pageAfter('')
    await append(2001, 2003)
    const meanwhile = await pageAfter(before.next)
    expect(meanwhile.events).toEqual([])

    const clock = new FakeClock()
    const warned: object[] = []
    const log = { ...silentLog, warn: (about: object) => warned.push(about) } as unknown as Logger
    // Other tests write in databases of the same cluster.
    const held = await vi.waitFor(
      async () => {
        const one = await readHeld(served.database)
        expect(one.holder?.application).toBe('nightly report')
        return one
      },
      { timeout: 25_000 },
    )
    const watch = watchHorizon({ read: async () => held, clock, log })
    await settled()
    await clock.advance(25_000)
    expect(warned).toEqual([])
    await clock.advance(10_000)
    expect(warned).toMatchObject([
      { code: 'HORIZON_HELD', application: 'nightly report', state: undefined, since: undefined },
    ])
    expect(watch.heldBy).toMatch(/^PID \d+ \(nightly report\) of \w+ in tidegate_test_/)
    expect(watch.ageMs()).toBeGreaterThanOrEqual(30_000)
    await watch.close()
    // A superuser sees since when.
    expect((await readHeld(owner)).holder).toMatchObject({ state: 'idle in transaction' })

    await holding.query('commit')
    holding.release()
    await elsewhere.close()
    await allReadable(owner)
    const after = await pageAfter(meanwhile.next)
    expect(after.events.map(({ id }) => id)).toEqual(['id-2001', 'id-2002', 'id-2003'])
  })

  test('are all who may read history, by the function alone', async () => {
    const urlOf = await createRoles(served.databaseUrl)
    for (const role of ['writer', 'module', 'reader', 'auditor'] satisfies Role[]) {
      const database = poolOf({ url: urlOf(role), poolMax: 1, applicationName: 'test' })
      const rows = await database.query<{ id: string }>(
        `select id from tidegate.read_events(types => '{com.acme.climate,com.acme.power,com.acme.climate}', max => 3)`,
      )
      expect([role, rows.map(({ id }) => id)]).toEqual([role, ['id-1', 'id-2', 'id-3']])
      await expect(database.query(`select * from tidegate.read_events('88120')`)).rejects.toThrow('no cursor')
      await database.close()
    }
  })
})
