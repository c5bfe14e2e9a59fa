import { createHash } from 'node:crypto'
import {
  chmodSync,
  lstatSync,
  readdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { createDatabase as poolOf } from '../../../cloud/database/database-postgres.ts'
import { postgresStorage } from '../../../cloud/database/storage-postgres.ts'
import { ownLedgerIn } from '../../../cloud/deeds/own-ledger-postgres.ts'
import { postgresHistory } from '../../../cloud/history/history-postgres.ts'
import { recordOf } from '../../../cloud/history/record.ts'
import { indexPartitions } from '../../../cloud/retention/indexes-postgres.ts'
import { asOwner } from '../../../cloud/retention/owner-postgres.ts'
import type { LedgerReport } from '../../../cloud/audit/ledger.ts'
import { audit, command, tamper } from '../../support/cloud/audited-database.ts'
import { Ledger } from '../../support/cloud/cloud-events.ts'
import {
  epochs,
  first,
  openRetentionBench,
  ownerParts,
  recorded,
  type RetentionBench,
  second,
} from '../../support/cloud/retention-bench.ts'

let bench: RetentionBench
beforeEach(async () => {
  bench = await openRetentionBench()
})
afterEach(() => bench.close())

const hash = (text: string): string => createHash('sha256').update(text).digest('base64url')

async function auditOf(gateway: string): Promise<LedgerReport> {
  const report = (await audit(bench.url)).find((one) => one.gateway === gateway)
  if (report === undefined) throw new Error(`nothing of ${gateway}`)
  return report
}

/** What the cloud's user may do: an event of the cloud's own ledger, whatever it says. */
async function forgeOwn(type: string, data: unknown): Promise<void> {
  const nowMs = Date.now()
  const event = {
    id: `forged-${hash(JSON.stringify(data))}`,
    source: '/gateways/tidegate-cloud',
    partitionkey: 'tidegate-cloud',
    type,
    time: new Date(nowMs).toISOString(),
    data,
  }
  await postgresStorage(bench.database).transaction(
    (tx) => ownLedgerIn(tx, Math.random).append(nowMs, [event as never]),
    ownerParts.signal,
  )
}

const deed = '00000000-0000-4000-8000-000000000000'

describe('what is no evidence', () => {
  test('an event before a retired range that is written anew, with the right hash, is found (G8)', async () => {
    await bench.retire(first)
    // 49 is retired; 48 stands before it.
    await tamper(bench.url, async (client) => {
      const { rows } = await client.query<{ body: string }>(
        `select body::text as body from tidegate.events where gateway = 'gateway-2' and sequence in (47, 48) order by sequence`,
      )
      const [before = '', body = ''] = rows.map((row) => row.body)
      const { chain } = JSON.parse(before) as { chain: string }
      const cut = body
        .slice(0, body.lastIndexOf(',"chain":'))
        .replace(/"temperature":[\d.]+/, '"temperature":99.9')
      await client.query(
        `update tidegate.events set body = $1::json where gateway = 'gateway-2' and sequence = 48`,
        [`${cut},"chain":"${hash(chain + cut)}"}`],
      )
    })
    expect(await auditOf('gateway-2')).toMatchObject({
      ok: false,
      chain: 'broken',
      faults: [{ kind: 'rewritten', sequence: 49 }],
    })
  })

  test('the cloud’s own ledger alone retires nothing, and excuses no repeat: its user can write there (G8)', async () => {
    await tamper(bench.url, async (client) => {
      await client.query(
        `insert into tidegate.ledger_notes (gateway, epoch, from_sequence, to_sequence, reason, chain, event_epoch, event_sequence, body)
         select gateway, epoch, 320, 320, 'duplicate', body ->> 'chain', epoch, 320, body from tidegate.events
         where gateway = 'gateway-1' and sequence = 320`,
      )
      await client.query(`delete from tidegate.events where gateway = 'gateway-1' and sequence in (320, 330)`)
    })
    const [said] = await bench.database.query<{ chain: string }>(
      `select body ->> 'chain' as chain from tidegate.events where gateway = 'gateway-1' and sequence = 329`,
    )
    const range = {
      gateway: 'gateway-1',
      epoch: epochs[0],
      from: 330,
      to: 330,
      before: said?.chain,
      chain: 'x',
    }
    const about = { deed, partition: 'x', from: null, until: '9999-01-01T00:00:00Z', sha256: 'x', events: 1 }
    const repeats = { count: 0, sha256: hash('') }
    for (const ranges of [[], [range]]) await forgeOwn('dev.tidegate.retired', { ...about, repeats, ranges })
    // No retirement could be known by this.
    await forgeOwn('dev.tidegate.retired', { ...about, repeats, ranges: [range], deed: 'x' })
    await forgeOwn('dev.tidegate.attached', { retirement: deed })
    const report = await auditOf('gateway-1')
    expect(report).toMatchObject({ ok: false, retired: { count: 0 } })
    expect(report.faults).toMatchObject([{ kind: 'unfounded', sequence: 320 }])
    expect(report.gaps.ranges).toEqual([
      [320, 320],
      [330, 330],
    ])
  })

  test.each([
    `sha256 = repeat('0', 64)`,
    `until_time = until_time + interval '7 days'`,
    `repeats = repeats + 1`,
  ])('nor does the table of the owner alone: %s (G8)', async (change) => {
    await bench.retire(first)
    await tamper(bench.url, `update tidegate.retirements set ${change}`)
    expect((await auditOf('gateway-1')).gaps.ranges).toEqual([[1, 300]])
  })

  test('an acceptance of more than was known is not widened by what is retired later (G8)', async () => {
    const ledger = new Ledger('gateway-9', '01JGFJJZ09TESTTESTTESTTEST')
    const events = Array.from({ length: 100 }, (_, index) =>
      ledger.next('device-9', { ...recorded(1), id: `z-${index}` }),
    )
    await bench.store(events.slice(0, 10))
    const ranges = [{ from: 1, to: 1_000_000 }]
    const about = { gateway: 'gateway-9', epoch: '01JGFJJZ09TESTTESTTESTTEST', actor: 'x', reason: 'y' }
    await forgeOwn('dev.tidegate.acceptance', { ...about, ranges })
    await bench.store([...events.slice(10, 49), ...events.slice(51)])
    for (const when of ['before', 'after']) {
      const report = await auditOf('gateway-9')
      expect(report.gaps.ranges, when).toEqual([[50, 51]])
      if (when === 'before') await bench.retire(first)
    }
  })

  test('an audit that had to wait for a partition to go sees that it is gone (G8)', async () => {
    const [late] = [bench.next.next('device-1', recorded(8))]
    let auditing: Promise<LedgerReport> | undefined
    const waiting = async (): Promise<boolean> =>
      (
        await bench.database.query(
          `select from pg_locks where relation = 'tidegate.events'::regclass and not granted`,
        )
      ).length > 0
    await postgresStorage(bench.database).transaction(async (tx) => {
      await tx.query('lock table tidegate.events in access exclusive mode')
      auditing = auditOf('gateway-1')
      while (!(await waiting()));
      await postgresHistory(tx).append([recordOf(late)])
    }, ownerParts.signal)
    expect((await auditing)?.lastSequence).toBe(351)
  })

  test('a repeat is believed when its original is in an archive, however far apart the two are (G4, G8)', async () => {
    const again = bench.next.next('device-1', { recordedtime: '2026-04-01T00:00:00.000Z', id: 'id-50' })
    const dedupWindow = { ms: 400 * 86_400_000, interval: '400 days' }
    expect(await bench.append([again], dedupWindow.ms)).toEqual(['rival'])
    await tamper(
      bench.url,
      `insert into tidegate.ledger_notes (gateway, epoch, from_sequence, to_sequence, reason, chain, event_epoch, event_sequence, body)
       values ('gateway-1', '${epochs[0]}', 351, 351, 'duplicate', '${again.event.chain}', '${epochs[0]}', 351, '${again.text}')`,
    )
    expect(await auditOf('gateway-1')).toMatchObject({ ok: true, lastSequence: 351 })
    await bench.retire(first)
    expect(await auditOf('gateway-1')).toMatchObject({ ok: true, lastSequence: 351 })
  })
})

const history = (...args: string[]): ReturnType<typeof command> =>
  command('history', 'archive', '--to', bench.folder, ...args, '--database', bench.url)

describe('a partition in which something is not as it was written', () => {
  const dropped = ['--drop', '--reason', 'old']

  test('holds up no other, and goes if it is asked for; what is faulty stays, and the audit names it as before (G8)', async () => {
    await tamper(bench.url, `update tidegate.events set stored_time = '2026-02-01Z'`)
    // By which the clock of the database is believed.
    const another = new Ledger('gateway-5', '01JGFJJZ08TESTTESTTESTTEST')
    await bench.store([another.next('device-5', recorded(16))])
    await tamper(
      bench.url,
      `update tidegate.events set subject = 'x' where gateway = 'gateway-1' and sequence = 17;
       update tidegate.events set body = 'null' where gateway = 'gateway-1' and sequence = 19;
       update tidegate.events set body = '{}' where gateway = 'gateway-1' and sequence = 21`,
    )
    const held = await history('--older-than', '90d', ...dropped)
    expect(held).toMatchObject({ code: 1, stderr: expect.stringContaining('ARCHIVE_REFUSED') as string })
    expect(held.stdout).toContain(`${second} is dropped`)
    const faults = [
      { kind: 'relabelled', sequence: 17 },
      { kind: 'altered', sequence: 19 },
      { kind: 'moved', sequence: 21 },
    ]
    expect((await auditOf('gateway-1')).faults).toMatchObject(faults)
    const gone = await history('--partition', first, '--keep-faulty', ...dropped)
    expect(gone).toMatchObject({
      code: 0,
      stdout: expect.stringContaining('/17 is not as it was written') as string,
    })
    expect(gone.stdout).toContain('4 of its events stay')
    const report = await auditOf('gateway-1')
    expect(report).toMatchObject({
      ok: false,
      faults,
      present: {
        ranges: [
          [17, 17],
          [19, 19],
          [21, 21],
        ],
      },
    })
    expect(report.retired.ranges).toEqual([
      [1, 16],
      [18, 18],
      [20, 20],
      [22, 350],
    ])
    const [file = ''] = readdirSync(bench.folder).filter(
      (name) => name.startsWith(first) && name.endsWith('.gz'),
    )
    await bench.attach(join(bench.folder, file))
    expect((await auditOf('gateway-1')).faults).toMatchObject(faults)
  })
})

describe('the file of an archive', () => {
  test('is written into nothing that lies in its place, and is for this user alone', async () => {
    const victim = join(bench.folder, 'victim')
    writeFileSync(victim, 'precious')
    const draft = join(bench.folder, `${first}.jsonl.gz.part`)
    symlinkSync(victim, draft)
    const { path } = await bench.archive(first)
    expect(readFileSync(victim, 'utf8')).toBe('precious')
    expect(lstatSync(path).isFile()).toBe(true)
    writeFileSync(draft, 'of a crash', { mode: 0o644 })
    await bench.archive(first)
    expect(statSync(path).mode & 0o777).toBe(0o600)
  })

  test.each([0o777, 0o770])('lies in no folder that others may write to: mode %o', async (mode) => {
    chmodSync(bench.folder, mode)
    await expect(bench.archive(first)).rejects.toMatchObject({
      code: 'ARCHIVE_FILE',
      hint: expect.stringContaining('chmod go-w') as string,
    })
    chmodSync(bench.folder, 0o700)
  })
})

test('an index that somebody else is making is none of those that were begun and left', async () => {
  const owner = poolOf({ url: bench.url, poolMax: 1, applicationName: 'test' })
  await owner.query(`create index dba_index on tidegate.${first} (subject)`)
  await tamper(
    bench.url,
    `update pg_index set indisvalid = false where indexrelid = 'tidegate.dba_index'::regclass`,
  )
  await asOwner(bench.database, ownerParts, (session) => indexPartitions(session))
  expect(await owner.query(`select from pg_class where relname = 'dba_index'`)).toHaveLength(1)
  await owner.close()
})
