import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { Client } from 'pg'
import { auditDatabase, type AuditOptions } from '../../../cloud/audit/audit-postgres.ts'
import type { LedgerReport } from '../../../cloud/audit/ledger.ts'
import { createDatabase as poolOf, type Database } from '../../../cloud/database/database-postgres.ts'
import { postgresStorage } from '../../../cloud/database/storage-postgres.ts'
import { historyConsumer } from '../../../cloud/history/consumer.ts'
import { createBreakers } from '../../../cloud/protection/breakers.ts'
import { postgresHistory } from '../../../cloud/history/history-postgres.ts'
import { silentLog } from '../../../src/log.ts'
import { createReadyDatabase } from '../servers.ts'
import type { Encoded } from './cloud-events.ts'
import { allReadable } from './history-filled.ts'

/** A database in which history has stored these events, in this order, after `before` and before `more`. */
export async function databaseWith(
  events: readonly Encoded[],
  more: (database: Database) => Promise<void> = async () => {},
  before: (database: Database) => Promise<void> = async () => {},
): Promise<string> {
  const url = await createReadyDatabase()
  const database = poolOf({ url, poolMax: 2, applicationName: 'test' })
  await before(database)
  await store(database, events)
  // Marks are made of what is behind the horizon, which transactions of other databases on the same server hold back.
  await allReadable(database)
  await more(database)
  await database.close()
  return url
}

/** As history does it, in one transaction. */
export async function store(database: Database, events: readonly Encoded[]): Promise<void> {
  const { handler } = historyConsumer(postgresHistory)
  if (handler.kind !== 'batch') throw new Error('history takes batches')
  const { signal } = new AbortController()
  const entries = events.map(({ event, text: body }) => ({ event, text: body, fault: undefined }))
  await postgresStorage(database).transaction(
    async (tx) =>
      handler.handleBatch(entries, { tx, log: silentLog, signal, breaker: createBreakers()(signal) }),
    signal,
  )
}

let copies = 0

export async function copyOf(url: string): Promise<string> {
  const original = new URL(url)
  const copy = new URL(url)
  copy.pathname += `_copy_${copies++}`
  const server = new URL(url)
  server.pathname = '/postgres'
  const client = new Client(server.href)
  await client.connect()
  await client.query(`create database ${copy.pathname.slice(1)} template ${original.pathname.slice(1)}`)
  await client.end()
  return copy.href
}

export async function audit(url: string, more: Partial<AuditOptions> = {}): Promise<LedgerReport[]> {
  const database = poolOf({ url, poolMax: 1, applicationName: 'test' })
  const reports: LedgerReport[] = []
  for await (const report of auditDatabase(database, { nowMs: Date.now(), ...more })) reports.push(report)
  await database.close()
  return reports
}

/** As somebody who owns the database could: the triggers do not stop a superuser. */
export async function tamper(url: string, work: string | ((client: Client) => Promise<void>)): Promise<void> {
  const client = new Client(url)
  await client.connect()
  await client.query('set session_replication_role = replica')
  await (typeof work === 'string' ? client.query(work) : work(client))
  await client.end()
}

/** `tidegate …`, as it was built. */
export async function command(...args: string[]): Promise<{ code: number; stdout: string; stderr: string }> {
  const program = join(import.meta.dirname, '../../../dist/cli/tidegate.js')
  const child = spawn(process.execPath, [program, ...args], { stdio: ['ignore', 'pipe', 'pipe'] })
  const [stdout, stderr, [code]] = await Promise.all([
    text(child.stdout),
    text(child.stderr),
    once(child, 'exit'),
  ])
  return { code: code as number, stdout, stderr }
}
