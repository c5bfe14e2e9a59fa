import { expect, test, vi } from 'vitest'
import { createDatabase as poolOf } from '../../../cloud/database/database-postgres.ts'
import { migrations } from '../../../cloud/database/migrations/all.ts'
import { audit } from '../../support/cloud/audited-database.ts'
import { type Encoded, Ledger } from '../../support/cloud/cloud-events.ts'
import { migrated, openCloudBench } from '../../support/cloud/cloud.ts'
import { createDatabase } from '../../support/servers.ts'

/** As many as an installation has: `TIDEGATE_UPGRADE_EVENTS=300000 npx vitest run test/contract/cloud/database-upgrade.test.ts`. */
const storedBefore = Number(process.env['TIDEGATE_UPGRADE_EVENTS'] ?? 4_000)
/** Of the version before history had weeks. */
const stepsBefore = 13
const devices = 20
const dayMs = 24 * 3_600_000

const effects = `
import { defineConsumer } from ${JSON.stringify(new URL('../../../cloud/pipeline/consumer.ts', import.meta.url).href)}
export default defineConsumer({
  group: 'effects',
  types: ['#'],
  handle: async (event, { tx }) => void (await tx.query('insert into public.effects values ($1)', [event.id])),
})
`

/** History and inbox as the version before wrote them, in its own columns. */
async function storeAsBefore(url: string, events: readonly Encoded[]): Promise<void> {
  const pool = poolOf({ url, poolMax: 1, applicationName: 'test' })
  for (let from = 0; from < events.length; from += 5_000) {
    const some = events.slice(from, from + 5_000)
    await pool.query(
      `insert into tidegate.events (gateway, epoch, sequence, source, id, type, time, recorded_time, disposition, body)
       select e ->> 'gateway', e ->> 'epoch', (e ->> 'sequence')::bigint, e ->> 'source', e ->> 'id', e ->> 'type',
              (e ->> 'time')::timestamptz, (e ->> 'recordedtime')::timestamptz, 'accepted', e
       from unnest($1::json[]) as e`,
      [some.map(({ text }) => text)],
    )
    await pool.query(
      `insert into tidegate.inbox (consumer_group, source, id, processed_at)
       select 'effects', source, id, recorded_time + interval '1 second' from tidegate.events where sequence > $1 and sequence <= $2`,
      [from, from + some.length],
    )
  }
  await pool.close()
}

test('a database of before there were weeks is brought up to date while gateways send: nothing is lost, and nothing has its effect again (G2, G4, G8)', async () => {
  const url = await createDatabase()
  // One user for all, as most had it.
  const owner = poolOf({ url, poolMax: 1, applicationName: 'test' })
  await migrated(owner, migrations.slice(0, stepsBefore))
  const ledger = new Ledger()
  const next = (recordedMs: number): Encoded =>
    ledger.next(`device-${ledger.sequence % devices}`, { recordedtime: new Date(recordedMs).toISOString() })
  const beganMs = Date.now()
  const before = Array.from({ length: storedBefore }, (_, index) =>
    next(beganMs - 12 * dayMs + (index * 11 * dayMs) / storedBefore),
  )
  await storeAsBefore(url, before)
  const bench = await openCloudBench()
  const consumers = ['history', { module: bench.module(effects) }]
  await (await bench.start({ consumers })).stop()

  const sent: Encoded[] = []
  const send = async (events: readonly Encoded[]): Promise<void> => {
    sent.push(...events)
    await bench.publish(events)
  }
  const enough = new AbortController()
  const gateways = (async () => {
    while (!enough.signal.aborted) {
      await send(Array.from({ length: 10 }, () => next(Date.now())))
      await new Promise((done) => setTimeout(done, 20))
    }
  })()
  const tables = poolOf({ url, poolMax: 2, applicationName: 'test' })
  const count = async (sql: string): Promise<number> =>
    (await tables.query<{ count: number }>(`select count(*)::int as count from (${sql}) as one`))[0]?.count ??
    0
  try {
    await tables.query(
      'create table public.effects (id text); grant select, insert on public.effects to public',
    )
    await migrated(owner)
    await bench.start({ consumers, database: { url, insecure: true } })
    await vi.waitFor(async () => expect(await count('select from public.effects')).toBeGreaterThan(100), {
      timeout: 60_000,
    })
    enough.abort()
    await gateways
    // As a gateway sends again what it has no confirm of; and then one of each device, behind it in its partition.
    const again = before.slice(-500)
    await bench.publish(again)
    await send(Array.from({ length: devices }, () => next(Date.now())))
    const last = sent.slice(-devices).map(({ event }) => `'${event.id}'`)
    for (const table of ['public.effects', 'tidegate.events'])
      await vi.waitFor(
        async () => expect(await count(`select from ${table} where id in (${last.join(',')})`)).toBe(devices),
        { timeout: 60_000 },
      )
    expect(await count('select from public.effects')).toBe(sent.length)
    expect(await count('select distinct id from public.effects')).toBe(sent.length)
    expect(await count(`select from tidegate.events where gateway = 'gateway-1'`)).toBe(
      storedBefore + sent.length,
    )
    expect(await audit(url, { gateway: 'gateway-1' })).toMatchObject([
      { ok: true, present: { count: storedBefore + sent.length }, gaps: { count: 0 } },
    ])
    console.log(
      `${storedBefore} events of before, ${sent.length} sent meanwhile, ${Date.now() - beganMs} ms in all`,
    )
  } finally {
    enough.abort()
    await gateways.catch(() => {})
    await tables.close()
    await owner.close()
    await bench.close()
  }
}, 600_000)
