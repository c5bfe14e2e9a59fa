import { Client } from 'pg'
import { beforeAll, describe, expect, test } from 'vitest'
import type { AuditFault } from '../../../cloud/audit/event.ts'
import { auditDatabase } from '../../../cloud/audit/audit-postgres.ts'
import { createDatabase as poolOf } from '../../../cloud/database/database-postgres.ts'
import { migrations } from '../../../cloud/database/migrations/all.ts'
import { renameGateway } from '../../../cloud/gateways/registry-postgres.ts'
import { ledgerType } from '../../../src/contract/event.ts'
import {
  audit,
  command as tidegate,
  copyOf,
  databaseWith,
  tamper,
} from '../../support/cloud/audited-database.ts'
import { type Encoded, Ledger } from '../../support/cloud/cloud-events.ts'
import { createDatabase } from '../../support/servers.ts'

const epochs = [
  '01JGFJJZ00TESTTESTTESTTEST',
  '01JGFJJZ01TESTTESTTESTTEST',
  '01JGFJJZ02TESTTESTTESTTEST',
] as const
const count = 4500

/**
 * Three ledgers. The second lost some events and was closed when its gateway got another name; the third is that
 * gateway's under its new name. It says so, and stored one event twice, under 3 what the second has under 1.
 */
function filledDatabase(): Promise<string> {
  const first = new Ledger('gateway-1', epochs[0])
  const second = new Ledger('gateway-2', epochs[1])
  const renamed = new Ledger('renamed', epochs[2])
  const say = (data: object): Encoded => renamed.next('renamed', { type: ledgerType, data })
  const events = [
    ...Array.from({ length: count }, () => first.next('device-0')),
    ...Array.from({ length: count }, () => second.next('device-1')).filter(
      ({ event: { sequence } }) => sequence < 3000 || sequence > 3009,
    ),
    say({ kind: 'epoch-closed', epoch: epochs[1], lastSequence: count, reason: 'renamed' }),
    say({ kind: 'undelivered', epoch: epochs[1], ranges: [{ from: 3000, to: 3009, reason: 'lost' }] }),
    renamed.next('device-1', { id: 'id-1', data: { temperature: 20.1 } }),
    renamed.next('device-2', {
      subject: 'a\0b',
      dataschema: 'com.acme.climate/1',
      time: '9999-12-31T23:59:59.999+01:00',
    }),
  ]
  return databaseWith(events, (database) =>
    renameGateway(database.query.bind(database), 'gateway-2', 'renamed'),
  )
}

interface Found {
  faults: Partial<AuditFault>[]
  gaps: [number, number][]
}

const command = (...args: string[]): ReturnType<typeof tidegate> => tidegate('audit', ...args)

let url: string
beforeAll(async () => {
  url = await filledDatabase()
})

test('an untouched history is complete, over several pages and a renamed gateway (G8)', async () => {
  const [first, second, renamed] = await audit(url)
  expect(first).toMatchObject({ gateway: 'gateway-1', ok: true, lastSequence: count, unverifiedLinks: 0 })
  expect(first?.present.ranges).toEqual([[1, count]])
  expect(second).toMatchObject({ gateway: 'gateway-2', ok: true, lastSequence: count, unverifiedLinks: 1 })
  expect(second?.undelivered['lost']?.ranges).toEqual([[3000, 3009]])
  expect(renamed).toMatchObject({ gateway: 'renamed', ok: true, lastSequence: 4, unverifiedLinks: 0 })
  expect(renamed?.undelivered['duplicate']?.ranges).toEqual([[3, 3]])
})

describe('what somebody did to history behind its back', () => {
  const where = `where gateway = 'gateway-1' and sequence`

  test.each<[string, string, Found]>([
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
    ...["id = 'other'", "time = time + '1 ms'", "subject = 'a'", "disposition = 'dead'"].map(
      (change): [string, string, Found] => [
        `a column that was changed (${change})`,
        `update tidegate.events set ${change} ${where} = 9`,
        { faults: [{ sequence: 9, kind: 'relabelled' }], gaps: [] },
      ],
    ),
    [
      'a note that explains a removal away, with the chain of what was removed',
      `insert into tidegate.ledger_notes
         (gateway, epoch, from_sequence, to_sequence, reason, chain, event_epoch, event_sequence, body)
         select gateway, epoch, 2500, 2500, 'evicted', substring(body::text from '"chain":"(.{43})"}$'), epoch, 1,
           null
         from tidegate.events ${where} = 2500;
       delete from tidegate.events ${where} = 2500`,
      { faults: [{ sequence: 2500, kind: 'unfounded' }], gaps: [[2500, 2500]] },
    ],
    [
      'a removed event called the duplicate of another',
      `insert into tidegate.ledger_notes
         (gateway, epoch, from_sequence, to_sequence, reason, chain, event_epoch, event_sequence, body)
         select gateway, epoch, 2500, 2500, 'duplicate', substring(body::text from '"chain":"(.{43})"}$'), epoch,
           2500, body
         from tidegate.events ${where} = 2500;
       delete from tidegate.events ${where} = 2500`,
      { faults: [{ sequence: 2500, kind: 'unfounded' }], gaps: [[2500, 2500]] },
    ],
    [
      'a note that was changed',
      `update tidegate.ledger_notes set to_sequence = 4500 where reason = 'lost';
       delete from tidegate.events where epoch = '${epochs[1]}' and sequence > 3009`,
      { faults: [{ sequence: 3000, kind: 'unfounded' }], gaps: [[3000, 4500]] },
    ],
    [
      'a removed end of a closed epoch, and its closure changed',
      `delete from tidegate.events where epoch = '${epochs[1]}' and sequence > 4490;
       update tidegate.epoch_closures set last_sequence = 4490 where epoch = '${epochs[1]}'`,
      { faults: [{ sequence: 1, kind: 'unrecorded' }], gaps: [] },
    ],
    [
      'an epoch that was removed whole',
      `delete from tidegate.events where epoch = '${epochs[1]}';
       delete from tidegate.ledger_notes where epoch = '${epochs[1]}';
       delete from tidegate.epoch_closures where epoch = '${epochs[1]}'`,
      // What the renamed gateway sent again was a duplicate of its first event.
      { faults: [{ sequence: 1, kind: 'unrecorded' }], gaps: [[3, 3]] },
    ],
    [
      'a removed end of a closed epoch',
      `delete from tidegate.events where epoch = '${epochs[1]}' and sequence > 4490`,
      {
        faults: [],
        gaps: [[4491, 4500]],
      },
    ],
  ])('%s is found and named (G8)', async (_, sql, found) => {
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

test('the command prints a report, and its exit code tells an alarm (G8)', async () => {
  const clean = await command('--database', url)
  expect(clean.code).toBe(0)
  expect(clean.stderr).toMatch(/^tidegate: ps shows [^\n]+\n$/)
  expect(clean.stdout).toContain('complete and untouched')
  const copy = await copyOf(url)
  await tamper(copy, `delete from tidegate.events where sequence = 17 and gateway = 'gateway-1'`)
  const alarm = await command('--database', copy, '--json')
  expect(alarm.code).toBe(1)
  expect(JSON.parse(alarm.stdout)).toMatchObject({ ok: false, ledgers: 3, missing: 1, faults: 0 })
  expect((await command('--database', copy, '--gateway', 'gateway-2')).code).toBe(0)
  const nobody = await command('--database', url, '--gateway', 'gateway-3')
  expect(nobody).toMatchObject({ code: 1, stdout: '' })
  expect(nobody.stderr).toContain('AUDIT_NOTHING')
  expect(nobody.stderr).toContain('it holds those of gateway-1, gateway-2, renamed')
  const nowhere = await command('--database', 'postgres://u:secret@127.0.0.1:1/none')
  expect(nowhere.code).not.toBe(0)
  expect(nowhere.stderr).toContain('DATABASE_UNREACHABLE')
  expect(nowhere.stderr).not.toMatch(/secret|at .*\.js/)
})

test('the command names gateway, epoch and sequence of an alarm, and says what to do', async () => {
  const copy = await copyOf(url)
  await tamper(copy, `update tidegate.events set subject = 'a' where sequence = 17 and gateway = 'gateway-1'`)
  const { code, stdout } = await command('--database', copy, '--gateway', 'gateway-1')
  expect(code).toBe(1)
  expect(stdout).toContain(`ALARM gateway-1  epoch ${epochs[0]}`)
  expect(stdout).toContain('RELABELLED 17  /devices/device-0 id-17: its text says no subject')
  expect(stdout).toMatch(/^ {2}relabelled: .*correct the column$/m)
  const programs = JSON.parse((await command('--database', copy, '--json')).stdout) as object
  expect(programs).toMatchObject({
    ok: false,
    named: ['relabelled'],
    reports: [{ lastChain: expect.stringMatching(/^.{43}$/) as string }, {}, {}],
  })
})

test('a database without history, or with an older one, is a clear error', async () => {
  const empty = await command('--database', await createDatabase())
  expect(empty).toMatchObject({ code: 1, stdout: '' })
  expect(empty.stderr).toContain('holds no history of Tidegate')
  const copy = await copyOf(url)
  await tamper(copy, `delete from tidegate.migrations where version = ${migrations.length}`)
  const older = await command('--database', copy)
  expect(older).toMatchObject({ code: 1, stdout: '' })
  expect(older.stderr).toMatch(/has schema step \d+, and \d+ is needed[^]*DATABASE_OLDER/)
})

test('a database that goes away in the middle of an audit is a clear error', async () => {
  const database = poolOf({ url, poolMax: 1, applicationName: 'test-cut-off' })
  const reports = auditDatabase(database, { nowMs: Date.now() })
  expect((await reports.next()).value).toMatchObject({ ok: true })
  const client = new Client(url)
  await client.connect()
  await client.query(
    `select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'test-cut-off'`,
  )
  await client.end()
  await expect(reports.next()).rejects.toMatchObject({ code: 'DATABASE_UNREACHABLE' })
  await database.close()
})
