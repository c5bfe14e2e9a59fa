import { readFileSync } from 'node:fs'
import { connect, createServer, type AddressInfo } from 'node:net'
import { TLSSocket } from 'node:tls'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { createDatabase as poolOf, type Database } from '../../../cloud/database/database-postgres.ts'
import type { Transaction } from '../../../cloud/database/storage.ts'
import { postgresStorage } from '../../../cloud/database/storage-postgres.ts'
import { migrated } from '../../support/cloud/cloud.ts'
import { type Cut, type CuttingProxy, startCuttingProxy } from '../../support/cutting-proxy.ts'
import { anyShare, cutsSeed as seed, draws } from '../../support/cuts.ts'
import { createDatabase } from '../../support/servers.ts'
import { createTestPki, type TestPki } from '../../support/edge/test-broker.ts'

const never = new AbortController().signal
/** PostgreSQL's word for BEGIN within a transaction, and for COMMIT or ROLLBACK in none. */
const misplaced = ['25001', '25P01']

let url: string
let direct: Database
let pki: TestPki
beforeAll(async () => {
  url = await createDatabase()
  direct = poolOf({ url, poolMax: 2, applicationName: 'beside' })
  await migrated(direct)
  await direct.query('create table effects (event text not null, part int not null, filler text not null)')
  pki = await createTestPki()
})
afterAll(async () => {
  await direct.close()
  await pki.close()
})

const closers: (() => Promise<unknown>)[] = []
afterAll(async () => {
  for (const close of closers.toReversed()) await close()
})

/** A proxy in the way to PostgreSQL, and the URL that leads through it. */
interface Way {
  proxy: CuttingProxy
  url: string
}

const ways = {
  async TCP(): Promise<Way> {
    const target = new URL(url)
    const proxy = await startCuttingProxy({ host: target.hostname, port: Number(target.port) })
    closers.push(() => proxy.close())
    return { proxy, url: through(proxy, '') }
  },
  async TLS(): Promise<Way> {
    const front = await startTlsFront()
    const proxy = await startCuttingProxy({ host: '127.0.0.1', port: front })
    closers.push(() => proxy.close())
    return { proxy, url: through(proxy, '?sslmode=no-verify') }
  },
}

function through(proxy: CuttingProxy, search: string): string {
  const way = new URL(url)
  way.host = `127.0.0.1:${proxy.port}`
  way.search = search
  return way.href
}

/** Ends TLS before a PostgreSQL that has none: answers SSLRequest, then speaks TLS (PostgreSQL 15, 55.2.10). */
async function startTlsFront(): Promise<number> {
  const target = new URL(url)
  const tls = { cert: readFileSync(pki.edge.certFile), key: readFileSync(pki.edge.keyFile) }
  const server = createServer((raw) => {
    raw.on('error', () => {})
    const onRequest = (): void => {
      if (raw.read(8) === null) return
      raw.off('readable', onRequest)
      const secure = new TLSSocket(raw, { isServer: true, ...tls })
      const far = connect({ host: target.hostname, port: Number(target.port) })
      secure.on('error', () => {})
      far.on('error', () => {})
      secure.once('close', () => far.destroy())
      far.once('close', () => secure.destroy())
      secure.pipe(far)
      far.pipe(secure)
      raw.write('S')
    }
    raw.on('readable', onRequest)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  closers.push(async () => void server.close())
  return (server.address() as AddressInfo).port
}

interface Work {
  event: string
  parts: number
  fillerBytes: number
}

let events = 1000

/** All of one length. */
const newEvent = (): string => `e${++events}`

/** What a consumer does: claims the event, has its effects, reads something back. A repeat has none. */
function apply(database: Database, { event, parts, fillerBytes }: Work): Promise<boolean> {
  return postgresStorage(database).transaction(async (tx) => {
    const [fresh] = await tx.inbox.claim('group', [{ source: '/devices/d', id: event }])
    if (!fresh) return false
    for (let part = 0; part < parts; part++)
      await tx.query('insert into effects values ($1, $2, $3)', [event, part, 'x'.repeat(fillerBytes)])
    const { rows } = await tx.query<{ filler: string }>('select filler from effects where event = $1', [
      event,
    ])
    expect(rows.map(({ filler }) => filler.length)).toEqual(Array.from({ length: parts }, () => fillerBytes))
    return true
  }, never)
}

/** In one statement, so as of one moment: whether the event is claimed, and how many effects it has had. */
async function stored(event: string): Promise<{ claimed: number; effects: number }> {
  const [row] = await direct.query<{ claimed: number; effects: number }>(
    `select (select count(*)::int from tidegate.processed('/devices/d', $1)) as claimed,
            (select count(*)::int from effects where event = $1) as effects`,
    [event],
  )
  return row as { claimed: number; effects: number }
}

function poolThrough(url: string): { database: Database; notices: string[] } {
  const database = poolOf({ url, poolMax: 1, applicationName: 'cut' })
  const notices: string[] = []
  database.pool.on('connect', (client) => client.on('notice', ({ code }) => notices.push(String(code))))
  return { database, notices }
}

interface Drawn extends Omit<Work, 'event'>, Omit<Cut, 'bytes'> {
  share: number
  fromEnd: number | null
  pieceBytes: number
}

const work = fc.record<Drawn>({
  parts: fc.integer({ min: 1, max: 3 }),
  fillerBytes: fc.constantFrom(6, 100, 16_383, 16_385, 65_537, 150_000),
  direction: fc.constantFrom('up', 'down'),
  how: fc.constantFrom('end', 'reset'),
  share: anyShare,
  // Half of them among the last bytes: there are COMMIT and its answer.
  fromEnd: fc.option(fc.integer({ min: 0, max: 48 }), { freq: 2 }),
  pieceBytes: fc.constantFrom(1, 7, 1000, Infinity),
})

const known = new Map<string, Promise<CuttingProxy['passed']>>()

/** How many bytes the work takes in each direction, from connecting to the answer to COMMIT. */
function bytesOf({ proxy, url }: Way, shape: Omit<Work, 'event'>): Promise<CuttingProxy['passed']> {
  const count = async (): Promise<CuttingProxy['passed']> => {
    const before = { ...proxy.passed }
    const { database } = poolThrough(url)
    await apply(database, { event: newEvent(), ...shape })
    const passed = { up: proxy.passed.up - before.up, down: proxy.passed.down - before.down }
    await database.close()
    return passed
  }
  const key = JSON.stringify([url, shape])
  const counted = known.get(key) ?? count()
  known.set(key, counted)
  return counted
}

/** @returns how many connections were cut, and whether that left a commit nobody had learned of. */
async function cutOnce(
  { proxy, url }: Way,
  { share, fromEnd, pieceBytes, direction, how, parts, fillerBytes }: Drawn,
): Promise<{ cuts: number; unknown: boolean }> {
  const total = (await bytesOf({ proxy, url }, { parts, fillerBytes }))[direction]
  const drawn: Work = { event: newEvent(), parts, fillerBytes }
  const { database, notices } = poolThrough(url)
  const attempt = (): Promise<unknown> => apply(database, drawn).catch((error: unknown) => error)
  const cutsBefore = proxy.cuts
  proxy.pieceBytes = fillerBytes > 1000 ? Infinity : pieceBytes
  proxy.cut = {
    direction,
    how,
    bytes: fromEnd === null ? Math.floor(share * total) : Math.max(0, total - fromEnd),
  }
  let outcome = await attempt()
  proxy.cut = undefined
  const found = await stored(drawn.event)
  const all = { claimed: 1, effects: parts }
  const possible = outcome === true ? [all] : [{ claimed: 0, effects: 0 }, all]
  expect(possible).toContainEqual(found)
  const unknown = outcome !== true && found.effects > 0

  // Again, on the same pool, which may hold a connection whose cut is still to come: each costs one attempt.
  for (let failures = 1; outcome !== true && outcome !== false; failures++) {
    expect(outcome).toMatchObject({ code: 'DATABASE_UNREACHABLE', retryable: true })
    expect({ failures, outcome }, String(outcome)).toMatchObject({
      failures: Math.min(failures, proxy.cuts - cutsBefore),
    })
    outcome = await attempt()
  }
  expect(await stored(drawn.event)).toEqual(all)
  expect(notices.filter((code) => misplaced.includes(code))).toEqual([])
  proxy.pieceBytes = Infinity
  await database.close()
  return { cuts: proxy.cuts - cutsBefore, unknown }
}

describe.each(Object.keys(ways))(
  'a transaction whose connection to PostgreSQL is cut at any byte, over %s,',
  (kind) => {
    const some = draws(24, 1500)

    test(
      `leaves all effects or none, a commit nobody learned of is an outage, and the next transaction is clean (G4, seed ${seed})`,
      async () => {
        const way = await ways[kind as keyof typeof ways]()
        let [cuts, unknown] = [0, 0]
        const property = fc.asyncProperty(work, async (drawn) => {
          const outcome = await cutOnce(way, drawn)
          cuts += outcome.cuts
          unknown += outcome.unknown ? 1 : 0
        })
        await fc.assert(property, { seed, numRuns: some.count, endOnFailure: true })
        expect(cuts).toBeGreaterThan(some.count / 3)
        console.log(`${kind}: ${cuts} cuts, ${unknown} of them behind a commit that nobody learned of`)
      },
      some.timeoutMs,
    )

    test('whose answer to COMMIT was lost finds its work done, once (G4)', async () => {
      const way = await ways[kind as keyof typeof ways]()
      let unknown = 0
      // The answer is 18 bytes, in a TLS record 40; the length of a handshake differs by a few, as signatures do.
      for (const fromEnd of kind === 'TCP' ? [1, 7, 17] : [10, 20, 30]) {
        for (const how of ['end', 'reset'] as const) {
          const drawn: Drawn = {
            direction: 'down',
            how,
            fromEnd,
            share: 0,
            pieceBytes: Infinity,
            parts: 2,
            fillerBytes: 100,
          }
          if ((await cutOnce(way, drawn)).unknown) unknown += 1
        }
      }
      expect(unknown).toBe(6)
    })
  },
)

const fail = (tx: Transaction): Promise<unknown> => tx.query('select no_such_column').catch(() => {})

test('a failure that was swallowed is known at once, although the server’s word on the transaction is still under way (G4)', async () => {
  const { proxy, url } = await ways.TCP()
  proxy.pieceBytes = 1
  const { database } = poolThrough(url)
  const within = (work: (tx: Transaction) => Promise<void>): Promise<void> =>
    postgresStorage(database).transaction(work, never)
  const swallowed = within(async (tx) => {
    await fail(tx)
    tx.assertUsable()
    throw new Error('it was taken for usable')
  })
  await expect(swallowed).rejects.toMatchObject({ code: 'TRANSACTION_SPOILT' })
  // What a savepoint has mended is usable.
  const mended = within(async (tx) => {
    await tx.query('savepoint before')
    await fail(tx)
    await tx.query('rollback to before')
    tx.assertUsable()
  })
  await expect(mended).resolves.toBeUndefined()
  await database.close()
})
