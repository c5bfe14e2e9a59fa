import { spawn } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createDatabase as poolOf, type Database } from '../../../cloud/database/database-postgres.ts'
import { postgresStorage } from '../../../cloud/database/storage-postgres.ts'
import { postgresHistory } from '../../../cloud/history/history-postgres.ts'
import type { Appended } from '../../../cloud/history/history.ts'
import { recordOf } from '../../../cloud/history/record.ts'
import { attachArchive, type Attached, detachArchive } from '../../../cloud/retention/attach-postgres.ts'
import { asOwner, type OwnerParts, type OwnerSession } from '../../../cloud/retention/owner-postgres.ts'
import {
  listPartitions,
  type PartitionStanding,
  type Retirable,
  retirable,
} from '../../../cloud/retention/partitions-postgres.ts'
import { type Archived, archivePartition, retirePartition } from '../../../cloud/retention/retire-postgres.ts'
import { systemClock } from '../../../src/clock.ts'
import { ledgerType } from '../../../src/contract/event.ts'
import { silentLog } from '../../../src/log.ts'
import { programFile } from '../program.ts'
import { databaseWith, store } from './audited-database.ts'
import { type Encoded, Ledger } from './cloud-events.ts'

/** Mondays, of weeks that are over. */
export const weeks = ['2026-01-05', '2026-01-12', '2026-01-19'] as const
export const partitionOf = (monday: string): string => `events_${monday.replaceAll('-', '')}`
export const [first, second] = [partitionOf(weeks[0]), partitionOf(weeks[1])]

const daysMs = 86_400_000

/** So many days after the first of these Mondays. */
export const recorded = (day: number): { recordedtime: string } => ({
  recordedtime: new Date(Date.parse(`${weeks[0]}T12:00:00.000Z`) + day * daysMs).toISOString(),
})

/** Weeks of their own, where there is one partition for all of the past; of whoever owns the tables. */
export async function makeWeeks(database: Database): Promise<void> {
  const client = await database.connect()
  const attach = (partition: string, from: string, until: string): Promise<unknown> =>
    client.query(
      `alter table tidegate.events attach partition tidegate.${partition} for values from (${from}) to ('${until}T00:00:00Z')`,
    )
  try {
    await client.query(
      `select set_config('role', nspowner::regrole::text, false) from pg_namespace where nspname = 'tidegate'`,
    )
    await client.query('alter table tidegate.events detach partition tidegate.events_before')
    await attach('events_before', 'minvalue', weeks[0])
    for (const [index, monday] of weeks.entries()) {
      await client.query('select tidegate.make_partition($1)', [partitionOf(monday)])
      const next = new Date(Date.parse(weeks[index] as string) + 7 * daysMs).toISOString().slice(0, 10)
      await attach(partitionOf(monday), `'${monday}T00:00:00Z'`, next)
    }
  } finally {
    client.release(true)
  }
}

export const epochs = ['01JGFJJZ00TESTTESTTESTTEST', '01JGFJJZ01TESTTESTTESTTEST'] as const

/**
 * Two ledgers over two weeks. In the first week one of them loses some events, says so, and numbers one event twice; its clock goes back to
 * the first week when it was in the second already.
 */
export function someEvents(): { events: Encoded[]; next: Ledger } {
  const one = new Ledger('gateway-1', epochs[0])
  const two = new Ledger('gateway-2', epochs[1])
  const events: Encoded[] = []
  for (let n = 0; n < 300; n++) events.push(one.next('device-1', recorded(n / 50)))
  for (let n = 0; n < 40; n++) events.push(two.next('device-2', { ...recorded(0.1), id: `b-${n}` }))
  for (let n = 0; n < 4; n++) two.skip()
  const ranges = [{ from: 41, to: 44, reason: 'lost' }]
  const data = { kind: 'undelivered', epoch: epochs[1], ranges }
  events.push(
    two.next('gateway-2', { ...recorded(0.2), type: ledgerType, data, source: '/gateways/gateway-2' }),
  )
  const said = { id: 'b-7', data: { temperature: 20.8 } }
  events.push(two.next('device-2', { ...recorded(0.3), ...said }))
  for (const day of [7, 8, 3, 9]) events.push(two.next('device-2', { ...recorded(day), id: `c-${day}` }))
  for (let n = 0; n < 50; n++) events.push(one.next('device-1', recorded(7 + n / 10)))
  return { events, next: one }
}

export interface RetentionBench {
  url: string
  folder: string
  events: readonly Encoded[]
  /** The ledger of the first gateway, to go on with. */
  next: Ledger
  database: Database
  /** Stores more, as history does. */
  store(events: readonly Encoded[]): Promise<void>
  /** What history answers of each, in a transaction that is committed. */
  append(events: readonly Encoded[], dedupWindowMs?: number): Promise<Appended[]>
  partitions(): Promise<PartitionStanding[]>
  archive(partition: string): Promise<Archived>
  /** Archives and drops. */
  retire(partition: string, keepFaulty?: boolean): Promise<Archived>
  attach(file: string, sha256?: string): Promise<Attached>
  detach(archive: string): Promise<void>
  /** Every row, column by column, as text. */
  allRows(): Promise<string[]>
  /** Of the archives that are attached. */
  archivedRows(): Promise<string[]>
  /** Does it in a process of its own, which is killed when its log tells of this step; answers whether it was. */
  killedAt(step: string, work: { retire: string } | { attach: string }): Promise<boolean>
  close(): Promise<void>
}

export const ownerParts: OwnerParts = {
  clock: systemClock,
  random: Math.random,
  log: silentLog,
  signal: new AbortController().signal,
}

export const someDeed = () => ({
  key: randomUUID(),
  by: { actor: 'tester', roles: ['admin'] },
  reason: 'older than 90 days',
})

const rowsSql = (table: string): string => `
select row_to_json(e)::text as row from (
  select position, gateway, epoch, sequence, source, id, type, subject, dataschema, time, recorded_time, stored_time, disposition, reason,
         body::text as body, era, tx::text as tx from tidegate.${table} where gateway like 'gateway-%') as e
order by gateway collate "C", epoch collate "C", sequence`

async function standing(partition: string, { query }: OwnerSession): Promise<Retirable> {
  return retirable(partition, await listPartitions(query, { count: false }), Date.now())
}

export async function openRetentionBench(): Promise<RetentionBench> {
  const { events, next } = someEvents()
  const url = await databaseWith(events, undefined, makeWeeks)
  const folder = mkdtempSync(join(tmpdir(), 'tidegate-archive-'))
  const database = poolOf({ url, poolMax: 4, applicationName: 'test' })
  const owning = <T>(work: (owner: OwnerSession) => Promise<T>): Promise<T> =>
    asOwner(database, ownerParts, work)
  const { signal } = ownerParts
  const rowsOf = async (table: string): Promise<string[]> =>
    (await database.query<{ row: string }>(rowsSql(table))).map(({ row }) => row)
  return {
    url,
    folder,
    events,
    next,
    database,
    store: (more) => store(database, more),
    append: (more, dedupWindowMs) =>
      postgresStorage(database).transaction(
        (tx) =>
          postgresHistory(tx, dedupWindowMs === undefined ? undefined : { dedupWindowMs }).append(
            more.map(recordOf),
          ),
        signal,
      ),
    partitions: () => owning(({ query }) => listPartitions(query, { count: true })),
    archive: (partition) =>
      owning(async (owner) =>
        archivePartition(await standing(partition, owner), { owner, folder, keepFaulty: false }),
      ),
    retire: (partition, keepFaulty = false) =>
      owning(async (owner) => {
        const archived = await archivePartition(await standing(partition, owner), {
          owner,
          folder,
          keepFaulty,
        })
        await retirePartition(archived, someDeed(), owner)
        return archived
      }),
    attach: (file, sha256) => owning((owner) => attachArchive(file, someDeed(), { owner, sha256 })),
    detach: (archive) => owning((owner) => detachArchive(archive, someDeed(), owner)),
    allRows: () => rowsOf('events'),
    archivedRows: () => rowsOf('archived'),
    async killedAt(step, work) {
      const args = [programFile('retention'), JSON.stringify({ url, folder, ...work }), step]
      const child = spawn(process.execPath, args, { stdio: ['ignore', 'ignore', 'inherit'] })
      const [code, killedBy] = (await once(child, 'exit')) as [number | null, string | null]
      if (code !== 0 && killedBy !== 'SIGKILL') throw new Error(`it ended with ${code}`)
      return killedBy === 'SIGKILL'
    },
    async close() {
      await database.close()
      rmSync(folder, { recursive: true, force: true })
    },
  }
}
