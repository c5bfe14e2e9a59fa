import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { Client } from 'pg'
import { beforeAll, describe, expect, test } from 'vitest'
import { auditDatabase } from '../../cloud/audit-postgres.ts'
import type { LedgerReport } from '../../cloud/audit.ts'
import { createDatabase as poolOf } from '../../cloud/database-postgres.ts'
import { migrateDatabase } from '../../cloud/migrate-postgres.ts'
import { migrations } from '../../cloud/migrations/all.ts'
import { postgresStorage } from '../../cloud/storage-postgres.ts'
import { silentLog } from '../../src/log.ts'
import { Ledger } from '../support/cloud-events.ts'
import { createDatabase } from '../support/servers.ts'

const epochs = ['01JGFJJZ00TESTTESTTESTTEST', '01JGFJJZ01TESTTESTTESTTEST']
const count = 4500

/** Two gateways; the second closed its first epoch and lost some of it. */
async function filledDatabase(): Promise<string> {
  const url = await createDatabase()
  const database = poolOf({ url, poolMax: 2, applicationName: 'test' })
  await migrateDatabase(database, migrations, silentLog)
  const storage = postgresStorage(database)
  for (const [index, gateway] of ['gateway-1', 'gateway-2'].entries()) {
    const ledger = new Ledger(gateway, epochs[index])
    const records = Array.from({ length: count }, () => ledger.next(`device-${index}`)).map(
      ({ event, text }) => ({
        ...event,
        subject: undefined,
        dataschema: undefined,
        timeMs: Date.parse(event.time),
        recordedMs: Date.parse(event.recordedtime),
        disposition: 'accepted' as const,
        reason: undefined,
        body: text,
      }),
    )
    const kept = index === 0 ? records : records.filter(({ sequence }) => sequence < 3000 || sequence > 3009)
    await storage.transaction(async (tx) => {
      await tx.history.append(kept)
      if (index === 0) return
      const about = { gateway: 'renamed', epoch: epochs[1] as string, eventSequence: 1 }
      await tx.history.note([{ ...about, from: 3000, to: 3009, reason: 'lost', chain: undefined }])
      await tx.history.closeEpochs([{ ...about, lastSequence: count, reason: 'renamed' }])
    }, new AbortController().signal)
  }
  await database.close()
  return url
}

let copies = 0

async function copyOf(url: string): Promise<string> {
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

async function audit(url: string): Promise<LedgerReport[]> {
  const database = poolOf({ url, poolMax: 1, applicationName: 'test' })
  const reports: LedgerReport[] = []
  for await (const report of auditDatabase(database, { nowMs: Date.now() })) reports.push(report)
  await database.close()
  return reports
}

/** As somebody who owns the database could: the triggers do not stop a superuser. */
async function tamper(url: string, sql: string): Promise<void> {
  const client = new Client(url)
  await client.connect()
  await client.query('set session_replication_role = replica')
  await client.query(sql)
  await client.end()
}

async function command(...args: string[]): Promise<{ code: number; stdout: string; stderr: string }> {
  const program = join(import.meta.dirname, '../../dist/cli/tidegate.js')
  const child = spawn(process.execPath, [program, 'audit', ...args], { stdio: ['ignore', 'pipe', 'pipe'] })
  const [stdout, stderr, [code]] = await Promise.all([
    text(child.stdout),
    text(child.stderr),
    once(child, 'exit'),
  ])
  return { code: code as number, stdout, stderr }
}

let url: string
beforeAll(async () => {
  url = await filledDatabase()
})

test('an untouched history is complete, over several pages and a renamed gateway', async () => {
  const [first, second] = await audit(url)
  expect(first).toMatchObject({ gateway: 'gateway-1', ok: true, lastSequence: count, unverifiedLinks: 0 })
  expect(first?.present.ranges).toEqual([[1, count]])
  expect(second).toMatchObject({ gateway: 'gateway-2', ok: true, lastSequence: count, unverifiedLinks: 1 })
  expect(second?.undelivered['lost']?.ranges).toEqual([[3000, 3009]])
})

describe('what somebody did to history behind its back', () => {
  const where = `where gateway = 'gateway-1' and sequence`

  test.each([
    ['a removed event', `delete from tidegate.events ${where} = 2500`, { faults: [], gaps: [[2500, 2500]] }],
    [
      'an altered event',
      `update tidegate.events set body = replace(body::text, '270', '271')::json ${where} = 2500`,
      { faults: [{ sequence: 2500, id: 'id-2500', kind: 'unlinked' }], gaps: [] },
    ],
    [
      'two events that changed places',
      `update tidegate.events set sequence = 999999 ${where} = 7;
       update tidegate.events set sequence = 7 ${where} = 8;
       update tidegate.events set sequence = 8 ${where} = 999999`,
      { faults: [{ sequence: 7, id: 'id-8', kind: 'moved' }], gaps: [] },
    ],
    [
      'an event under another name',
      `update tidegate.events set id = 'other' ${where} = 9`,
      { faults: [{ sequence: 9, id: 'other', kind: 'relabelled' }], gaps: [] },
    ],
    [
      'a note that explains a removal away, without knowing the chain',
      `delete from tidegate.events ${where} = 2500;
       insert into tidegate.ledger_notes values ('gateway-1', '${epochs[0]}', 2500, 2500, 'expired', '${'A'.repeat(43)}', 1)`,
      { faults: [{ sequence: 2501, id: 'id-2501', kind: 'unlinked' }], gaps: [] },
    ],
    [
      'a removed end of a closed epoch',
      `delete from tidegate.events where epoch = '${epochs[1]}' and sequence > 4490`,
      {
        faults: [],
        gaps: [[4491, 4500]],
      },
    ],
  ])('%s is found and named', async (_, sql, found) => {
    const copy = await copyOf(url)
    await tamper(copy, sql)
    const reports = await audit(copy)
    const alarms = reports.filter((report) => !report.ok)
    expect(alarms).toHaveLength(1)
    const [alarm] = alarms
    expect(alarm?.gaps.ranges).toEqual(found.gaps)
    expect(alarm?.faults.slice(0, 1)).toMatchObject(found.faults)
  })
})

test('the command prints a report, and its exit code tells an alarm', async () => {
  const clean = await command('--database', url)
  expect(clean).toMatchObject({ code: 0, stderr: '' })
  expect(clean.stdout).toContain('complete and untouched')
  const copy = await copyOf(url)
  await tamper(copy, `delete from tidegate.events where sequence = 17 and gateway = 'gateway-1'`)
  const alarm = await command('--database', copy, '--json')
  expect(alarm.code).toBe(1)
  expect(JSON.parse(alarm.stdout)).toMatchObject({ ok: false, ledgers: 2, missing: 1, faults: 0 })
  expect((await command('--database', copy, '--gateway', 'gateway-2')).code).toBe(0)
  const nobody = await command('--database', url, '--gateway', 'gateway-3')
  expect(nobody).toMatchObject({ code: 1, stdout: '' })
  expect(nobody.stderr).toContain('AUDIT_NOTHING')
  const nowhere = await command('--database', 'postgres://u:secret@127.0.0.1:1/none')
  expect(nowhere.code).not.toBe(0)
  expect(nowhere.stderr).toContain('DATABASE_UNREACHABLE')
  expect(nowhere.stderr).not.toMatch(/secret|at .*\.js/)
})
