import { randomUUID } from 'node:crypto'
import { Pool } from 'pg'
import { createDatabase as poolOf, type Database } from '../../../cloud/database/database-postgres.ts'
import { postgresStorage } from '../../../cloud/database/storage-postgres.ts'
import type { Storage, Transaction } from '../../../cloud/database/storage.ts'
import { postgresHistory } from '../../../cloud/history/history-postgres.ts'
import type { Projection } from '../../../cloud/projections/definition.ts'
import { type RunningProjections, startProjections } from '../../../cloud/projections/projections.ts'
import { systemClock } from '../../../src/clock.ts'
import { silentLog } from '../../../src/log.ts'
import { createReadyDatabase, type Role, urlAs } from '../servers.ts'
import type { ReadAs } from '../../../src/schemas/upcast/read-as.ts'
import type { Encoded } from './cloud-events.ts'

/** A database with its roles, in which projections run as they do in a cloud, without a broker. */
export interface ProjectionBench {
  /** As the writer. */
  database: Database
  storage: Storage
  databaseUrl: string
  urlOf: (role: Role) => string
  store(events: readonly Encoded[], disposition?: 'accepted' | 'rejected'): Promise<void>
  start(
    projections: readonly Projection[],
    more?: {
      instance?: string
      leaseMs?: number
      timeoutMs?: number
      readAs?: ReadAs
      upcastersTo?: (type: string, version: number) => readonly string[]
    },
  ): RunningProjections
  /** Something in one transaction, as the cloud does it. */
  transact<T>(work: (tx: Transaction) => Promise<T>): Promise<T>
  /** As a superuser. */
  rows<Row extends object>(sql: string, values?: unknown[]): Promise<Row[]>
  /** The first row in which something is so. */
  until<Row extends object>(sql: string, isSo: (row: Row | undefined) => boolean): Promise<Row>
  /** Until the version has applied all that there is, behind the horizon yet or not. */
  live(name: string, version?: number): Promise<void>
  close(): Promise<void>
}

const never = new AbortController().signal

export async function openProjectionBench(): Promise<ProjectionBench> {
  const databaseUrl = await createReadyDatabase()
  const urlOf = (role: Role): string => urlAs(role, databaseUrl)
  const database = poolOf({ url: urlOf('writer'), poolMax: 12, applicationName: 'test-projections' })
  const storage = postgresStorage(database)
  const admin = new Pool({ connectionString: databaseUrl, max: 4 })
  admin.on('error', () => {})
  const running: RunningProjections[] = []

  async function rows<Row extends object>(sql: string, values: unknown[] = []): Promise<Row[]> {
    return (await admin.query<Row>(sql, values)).rows
  }

  async function until<Row extends object>(
    sql: string,
    isSo: (row: Row | undefined) => boolean,
  ): Promise<Row> {
    for (;;) {
      const [row] = await rows<Row>(sql)
      if (isSo(row)) return row as Row
      await systemClock.sleep(10)
    }
  }

  return {
    database,
    storage,
    databaseUrl,
    urlOf,
    rows,
    until,
    transact: (work) => storage.transaction(work, never),
    store: (events, disposition) => storeEvents(storage, events, disposition),
    start(
      projections,
      {
        instance = `test-${randomUUID().slice(0, 8)}`,
        leaseMs = 2_000,
        timeoutMs = 5_000,
        readAs,
        upcastersTo,
      } = {},
    ) {
      const surroundings = { clock: systemClock, random: Math.random, log: silentLog }
      const started = startProjections({
        projections,
        database,
        instance,
        timeoutMs,
        leaseMs,
        ...(readAs && { readAs }),
        ...(upcastersTo && { upcastersTo }),
        ...surroundings,
      })
      running.push(started)
      return started
    },
    async live(name, version = 1) {
      await until<{ there: boolean }>(
        `select v.state = 'live' and not exists (
           select from tidegate.events as e where v.cursor = '' or (e.era, e.tx, e.position) >
             (split_part(v.cursor, '.', 1)::integer, split_part(v.cursor, '.', 2)::xid8, split_part(v.cursor, '.', 3)::bigint)) as there
         from tidegate.projection_versions as v where name = '${name}' and version = ${version}`,
        (row) => row?.there === true,
      )
    },
    async close() {
      await Promise.all(running.map((one) => one.close()))
      await admin.end()
      await database.close()
    },
  }
}

/** As the group of history does it, in one transaction. */
export async function storeEvents(
  storage: Storage,
  events: readonly Encoded[],
  disposition: 'accepted' | 'rejected' = 'accepted',
): Promise<void> {
  await storage.transaction(async (tx) => {
    const history = postgresHistory(tx, { dedupWindowMs: 14 * 86_400_000 })
    await history.append(
      events.map(({ event, text }) => ({
        gateway: event.gateway,
        epoch: event.epoch,
        sequence: event.sequence,
        source: event.source,
        id: event.id,
        type: event.type,
        subject: undefined,
        dataschema: event.dataschema,
        timeMs: Date.parse(event.time),
        recordedMs: Date.parse(event.recordedtime),
        disposition,
        reason: undefined,
        body: text,
      })),
    )
  }, never)
}
