import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { readFileSync, readdirSync, writeFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { gunzipSync, gzipSync } from 'node:zlib'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { acceptLoss } from '../../../cloud/deeds/accept-postgres.ts'
import { postgresStorage } from '../../../cloud/database/storage-postgres.ts'
import { manifestOf } from '../../../cloud/retention/archive-file.ts'
import { attachArchive } from '../../../cloud/retention/attach-postgres.ts'
import { asOwner } from '../../../cloud/retention/owner-postgres.ts'
import { indexPartitions } from '../../../cloud/retention/indexes-postgres.ts'
import { isDue } from '../../../cloud/retention/partitions-postgres.ts'
import { createDatabase as poolOf } from '../../../cloud/database/database-postgres.ts'
import { migrated } from '../../support/cloud/cloud.ts'
import { createRoles, type Role } from '../../support/servers.ts'
import { audit, command, store, tamper } from '../../support/cloud/audited-database.ts'
import {
  first,
  openRetentionBench,
  ownerParts,
  recorded,
  type RetentionBench,
  second,
  someDeed,
} from '../../support/cloud/retention-bench.ts'
import { type Encoded, Ledger } from '../../support/cloud/cloud-events.ts'
import type { LedgerReport } from '../../../cloud/audit/ledger.ts'
import { markingIn } from '../../../cloud/audit/marks/marking-postgres.ts'
import type { Mark } from '../../../cloud/audit/marks/marks.ts'

const handOver = join(import.meta.dirname, '../../../deploy/postgres/hand-over.sql')

let bench: RetentionBench
beforeEach(async () => {
  bench = await openRetentionBench()
})
afterEach(() => bench.close())

async function expectClean(): Promise<void> {
  const reports = await audit(bench.url)
  expect(reports.map(({ gateway, faults, gaps }) => ({ gateway, faults, gaps: gaps.ranges }))).toEqual(
    reports.map(({ gateway }) => ({ gateway, faults: [], gaps: [] })),
  )
  const [one, two] = reports
  expect(one).toMatchObject({ gateway: 'gateway-1', lastSequence: 350, chain: 'intact' })
  expect(two).toMatchObject({ gateway: 'gateway-2', lastSequence: 50, chain: 'intact' })
}

const hash = (text: string): string => createHash('sha256').update(text).digest('base64url')

const countIn = async (where: string): Promise<number> =>
  (
    await bench.database.query<{ n: number }>(`select count(*)::int as n from tidegate.events where ${where}`)
  )[0]?.n ?? NaN

const firstWeek = `recorded_time >= '2026-01-05Z' and recorded_time < '2026-01-12Z'`

describe('a partition that is retired', () => {
  test('is accounted for: the audit goes on behind it, and what the rest rests on stays (G8)', async () => {
    await expectClean()
    await bench.retire(first)
    await expectClean()
    const [one, two, own] = await audit(bench.url)
    expect(one?.retired.ranges).toEqual([[1, 300]])
    expect(one).toMatchObject({ present: { ranges: [[301, 350]] }, unverifiedLinks: 0 })
    // 46 is a repeat whose original is retired; 45 says what was lost; 49 was recorded by a clock that had gone back.
    expect(two?.retired.ranges).toEqual([
      [1, 40],
      [49, 49],
    ])
    expect(two?.present.ranges).toEqual([
      [45, 45],
      [47, 48],
      [50, 50],
    ])
    expect(two?.undelivered['lost']?.ranges).toEqual([[41, 44]])
    expect(two?.undelivered['duplicate']?.ranges).toEqual([[46, 46]])
    expect(own).toMatchObject({ gateway: 'tidegate-cloud', ok: true })
    expect(await countIn(firstWeek)).toBe(1)
    const said = await bench.database.query<{ type: string }>(
      `select type from tidegate.events where gateway = 'tidegate-cloud' order by sequence`,
    )
    expect(said.map(({ type }) => type)).toEqual(['dev.tidegate.retired', 'dev.tidegate.deed'])
  })

  test('leaves audits from marks what audits of the whole are, with marks and heads in what was retired, and when it is attached (G8)', async () => {
    let marks: Mark[] = []
    const inside = {
      gateway: 'gateway-1',
      epoch: '01JGFJJZ00TESTTESTTESTTEST',
      sequence: 100,
      chain: 'unknown',
    }
    const goOn = async (expected = [inside]): Promise<LedgerReport[]> => {
      const marking = markingIn({ marks, isFull: false, forgotten: [], at: '2026-07-01T00:00:00.000Z' })
      const reports = await audit(bench.url, { marking, expected })
      const whole = await audit(bench.url)
      expect(reports.map((report) => ({ ...report, readFrom: 1, unread: 0 }))).toEqual(whole)
      marks = marking.made()
      return reports
    }
    await goOn([])
    expect((await goOn([]))[0]?.readFrom).toBe(351)
    const { path } = await bench.retire(first)
    expect((await goOn())[0]?.readFrom).toBe(1)
    expect((await goOn())[0]?.readFrom).toBe(351)
    // The heads of the marks are its last places.
    await bench.retire(second)
    await goOn()
    const { archive } = await bench.attach(path)
    expect((await goOn([]))[0]).toMatchObject({ readFrom: 1, retired: { ranges: [[1, 350]] }, headsLost: 0 })
    expect((await goOn([]))[0]?.readFrom).toBeGreaterThan(1)
    await bench.detach(archive)
    expect((await goOn([]))[0]).toMatchObject({ readFrom: 1, headsLost: 0 })
  })

  test('is known: what of it is delivered again is a repeat, and what is late is stored (G4)', async () => {
    await bench.retire(first)
    const before = await bench.allRows()
    const again = bench.events.slice(0, 40)
    expect(await bench.append(again)).toEqual(again.map(() => 'again'))
    // Some of them alone, and together with what is there.
    expect(await bench.append([...bench.events.slice(5, 7), ...bench.events.slice(-2)])).toEqual(
      Array(4).fill('again'),
    )
    expect(await bench.allRows()).toEqual(before)
    const late = bench.next.next('device-1', recorded(2))
    expect(await bench.append([late])).toEqual(['stored'])
    expect(await countIn(`sequence = ${late.event.sequence}`)).toBe(1)
  })

  test('is in a file that sha256sum and the rule of docs/WIRE.md verify (G8)', async () => {
    const { path, manifest } = await bench.retire(first)
    expect(execFileSync('sha256sum', [path], { encoding: 'utf8' }).split(' ')[0]).toBe(manifest.sha256)
    const lines = gunzipSync(readFileSync(path)).toString().trimEnd().split('\n')
    expect(lines).toHaveLength(342)
    const texts = lines.map((line) => (JSON.parse(line) as { text: string }).text)
    let chain = hash('tidegate:gateway-1:01JGFJJZ00TESTTESTTESTTEST')
    for (const text of texts.slice(0, 300)) {
      chain = hash(chain + text.slice(0, text.lastIndexOf(',"chain":')))
      expect(text.endsWith(`,"chain":"${chain}"}`)).toBe(true)
    }
    expect(manifest.ranges[0]).toMatchObject({ gateway: 'gateway-1', from: 1, to: 300, chain })
  })

  test('takes nothing with it that was stored after it was archived', async () => {
    const late = bench.next.next('device-1', recorded(2))
    const { retirePartition, archivePartition } = await import('../../../cloud/retention/retire-postgres.ts')
    const { listPartitions, retirable } = await import('../../../cloud/retention/partitions-postgres.ts')
    const retiring = asOwner(bench.database, ownerParts, async (owner) => {
      const all = await listPartitions(owner.query, { count: false })
      const archived = await archivePartition(retirable(first, all, Date.now()), {
        owner,
        folder: bench.folder,
        keepFaulty: false,
      })
      await bench.store([late])
      await retirePartition(archived, someDeed(), owner)
    })
    await expect(retiring).rejects.toMatchObject({ code: 'PARTITION_CHANGED' })
    expect(readdirSync(bench.folder)).toEqual([])
    expect(await countIn(firstWeek)).toBe(343)
  })

  test('is not archived if it is not as it was written, and nothing is dropped (G8)', async () => {
    await tamper(
      bench.url,
      `update tidegate.events set subject = 'other' where gateway = 'gateway-1' and sequence = 17`,
    )
    await expect(bench.retire(first)).rejects.toMatchObject({
      code: 'ARCHIVE_REFUSED',
      message: expect.stringContaining('gateway-1/01JGFJJZ00TESTTESTTESTTEST/17') as string,
    })
    expect(readdirSync(bench.folder)).toEqual([])
    expect(await countIn(firstWeek)).toBe(342)
  })

  test('excuses nothing that the cloud’s own ledger does not say (G8)', async () => {
    await bench.retire(first)
    await tamper(bench.url, async (client) => {
      await client.query(`delete from tidegate.events where gateway = 'gateway-1' and sequence = 310`)
      await client.query(
        `insert into tidegate.retired select retirement, gateway, epoch, 310, 310, chain, chain, event_epoch, event_sequence
         from tidegate.retired where gateway = 'gateway-1'`,
      )
    })
    const [one] = await audit(bench.url)
    expect(one?.ok).toBe(false)
    expect(one?.gaps.ranges).toContainEqual([310, 310])
  })

  test('is dropped while others read and write, who all find what they look for (G2)', async () => {
    const over = new AbortController()
    const ledgers = [
      new Ledger('gateway-3', '01JGFJJZ03TESTTESTTESTTEST'),
      new Ledger('gateway-4', '01JGFJJZ04TESTTESTTESTTEST'),
    ]
    const writers = ledgers.map(async (ledger, index) => {
      let stored = 0
      while (!over.signal.aborted) {
        const some = Array.from({ length: 20 }, () =>
          ledger.next(`device-${index}`, { ...recorded(8), id: `w-${index}-${stored++}` }),
        )
        expect(await bench.append(some)).toEqual(some.map(() => 'stored'))
      }
      return stored
    })
    const reader = (async () => {
      while (!over.signal.aborted) expect(await countIn(`gateway = 'gateway-1' and sequence > 300`)).toBe(50)
    })()
    await bench.retire(first)
    over.abort()
    const stored = await Promise.all(writers)
    await reader
    expect(await countIn(`gateway in ('gateway-3', 'gateway-4')`)).toBe(stored.reduce((sum, n) => sum + n, 0))
  })

  test('waits for who reads for long, and makes nobody wait behind it', async () => {
    const long = await bench.database.connect()
    await long.query('begin')
    await long.query('select count(*) from tidegate.events')
    const retiring = bench.retire(first)
    const waiting = async (): Promise<number> =>
      (
        await bench.database.query<{ n: number }>(
          `select count(*)::int as n from pg_locks where relation = 'tidegate.events'::regclass and not granted`,
        )
      )[0]?.n ?? 0
    while ((await waiting()) === 0);
    // Behind it in the queue for the lock, until it gives up.
    expect(await bench.append([bench.next.next('device-1', recorded(8))])).toEqual(['stored'])
    await long.query('commit')
    long.release()
    await retiring
    expect(await countIn(firstWeek)).toBe(1)
  })

  test('leaves losses accepted that were accepted before', async () => {
    await tamper(bench.url, `delete from tidegate.events where gateway = 'gateway-1' and sequence = 100`)
    const parts = { ...ownerParts, storage: postgresStorage(bench.database) }
    const request = {
      gateway: 'gateway-1',
      epoch: '01JGFJJZ00TESTTESTTESTTEST',
      ranges: [{ from: 100, to: 100 }],
      // It was deleted here just now, and its gateway is no more.
      settleMs: 0,
    }
    await acceptLoss({ ...someDeed(), request }, parts)
    await bench.retire(first)
    await bench.retire(second)
    const [one] = await audit(bench.url)
    expect(one).toMatchObject({
      ok: true,
      accepted: { ranges: [[100, 100]] },
      retired: {
        ranges: [
          [1, 99],
          [101, 350],
        ],
      },
    })
    const again = acceptLoss(
      { ...someDeed(), request: { ...request, ranges: [{ from: 99, to: 99 }] } },
      parts,
    )
    await expect(again).rejects.toMatchObject({ code: 'ACCEPTANCE_REFUSED' })
  })
})

describe('an archive that is attached', () => {
  test('can be read as it was, row by row, is walked through by the audit, and can be detached (G8)', async () => {
    const before = await bench.allRows()
    const { path, manifest } = await bench.retire(first)
    const left = await bench.allRows()
    const attached = await bench.attach(path)
    expect(attached).toEqual({ archive: `${first}-${manifest.sha256.slice(0, 16)}`, events: 342 })
    expect(await bench.allRows()).toEqual(left)
    const archived = await bench.archivedRows()
    expect([...new Set([...left, ...archived])].toSorted()).toEqual(before.toSorted())
    await expectClean()
    const [one] = await audit(bench.url)
    expect(one).toMatchObject({ present: { count: 50 }, retired: { count: 300 }, unverifiedLinks: 0 })
    await expect(bench.attach(path)).rejects.toMatchObject({ code: 'ARCHIVE_ATTACHED' })
    await bench.detach(attached.archive)
    expect(await bench.archivedRows()).toEqual([])
    await expectClean()
    await expect(bench.detach(attached.archive)).rejects.toMatchObject({ code: 'ARCHIVE_UNKNOWN' })
    await expect(bench.detach('events; drop')).rejects.toMatchObject({ code: 'ARCHIVE_UNKNOWN' })
  })

  test('is altered in the table: the audit says so (G8)', async () => {
    const { path } = await bench.retire(first)
    const { archive } = await bench.attach(path)
    const table = `tidegate.archived_${archive.slice(-16)}`
    await tamper(
      bench.url,
      `update ${table} set subject = 'other' where gateway = 'gateway-1' and sequence = 17`,
    )
    const [one] = await audit(bench.url)
    expect(one).toMatchObject({ ok: false, faults: [{ kind: 'relabelled', sequence: 17 }] })
  })

  test('makes up for nothing that is missing (G8)', async () => {
    const { path } = await bench.retire(first)
    // Of a partition that is retired it has what stayed, and of one that was archived and not dropped all.
    const { archive } = await bench.attach(path)
    const table = `tidegate.archived_${archive.slice(-16)}`
    await tamper(bench.url, async (client) => {
      await client.query(
        `insert into ${table} select '${archive}', position, gateway, epoch, sequence, source, id, type, subject, dataschema, time, recorded_time,
           stored_time, disposition, reason, body, era, tx from tidegate.events where gateway = 'gateway-1' and sequence = 310`,
      )
      await client.query(`delete from tidegate.events where gateway = 'gateway-1' and sequence = 310`)
    })
    expect((await audit(bench.url))[0]?.gaps.ranges).toEqual([[310, 310]])
  })

  test('changes nothing for what is delivered again meanwhile, or is late, or has an identity of it (G4)', async () => {
    const { path } = await bench.retire(first)
    for (const step of ['attach: table made', 'attach: some are loaded', 'attach: verified'])
      expect(await bench.killedAt(step, { attach: path })).toBe(true)
    expect(await bench.append([bench.events[10] as Encoded])).toEqual(['again'])
    const another = bench.next.next('device-1', { ...recorded(2), id: 'id-50' })
    expect(await bench.append([another])).toEqual(['stored'])
    await bench.attach(path)
    expect(await bench.append([bench.events[11] as Encoded, another])).toEqual(['again', 'again'])
    expect((await audit(bench.url)).map(({ ok }) => ok)).toEqual([true, true, true])
  })

  test('is of what was recorded before there were weeks, too, where such a gateway may write meanwhile', async () => {
    const old = new Ledger('gateway-0', '01JGFJJZ05TESTTESTTESTTEST')
    const early = { recordedtime: '1970-01-01T00:00:00.000Z' }
    const next = (): Encoded => old.next('device-0', { ...early, id: `o-${old.sequence}` })
    const all = Array.from({ length: 20 }, next)
    await bench.store(all)
    const { path } = await bench.retire('events_before')
    expect((await bench.partitions())[0]).toMatchObject({ partition: 'events_before', events: 0 })
    expect(await bench.append([...all.slice(0, 3), next()])).toEqual(['again', 'again', 'again', 'stored'])
    const again = await bench.retire('events_before')
    for (const one of [path, again.path]) await bench.attach(one)
    expect((await audit(bench.url)).map(({ ok }) => ok)).toEqual([true, true, true, true])
  })

  test('is refused if it was altered, cut, or its manifest with it, also while it is read (G8)', async () => {
    const { path, manifest } = await bench.retire(first)
    const whole = readFileSync(path)
    const lines = gunzipSync(whole).toString()
    const written = readFileSync(manifestOf(path), 'utf8')
    const altered = gzipSync(lines.replace('20.5', '20.6'))
    // What the cloud adds is in no chain.
    const judged = gzipSync(
      lines.replaceAll('"disposition":"accepted","reason":null', '"disposition":"dead","reason":"forged"'),
    )
    for (const bytes of [
      altered,
      judged,
      gzipSync(lines.slice(0, -700)),
      whole.subarray(0, 2_000),
      Buffer.from('no archive'),
    ]) {
      writeFileSync(path, bytes)
      await expect(bench.attach(path)).rejects.toMatchObject({ code: 'ARCHIVE_ALTERED' })
    }
    writeFileSync(path, whole)
    const swapping = {
      ...ownerParts.log,
      debug({ step }: { step?: string }) {
        if (step === 'attach: table made') writeFileSync(path, judged)
      },
    } as unknown as typeof ownerParts.log
    const swapped = asOwner(bench.database, { ...ownerParts, log: swapping }, (owner) =>
      attachArchive(path, someDeed(), { owner }),
    )
    await expect(swapped).rejects.toMatchObject({ code: 'ARCHIVE_ALTERED' })
    // Whole events that were left out at its end.
    const fewer = gzipSync(lines.slice(0, lines.lastIndexOf('\n', lines.length - 2) + 1))
    writeFileSync(path, fewer)
    const sha256 = createHash('sha256').update(fewer).digest('hex')
    const last = manifest.ranges.at(-1) as { from: number; to: number }
    expect(last.from).toBe(last.to)
    const ranges = manifest.ranges.slice(0, -1)
    writeFileSync(
      manifestOf(path),
      JSON.stringify({ ...manifest, sha256, events: manifest.events - 1, ranges }),
    )
    await expect(bench.attach(path)).rejects.toMatchObject({ code: 'ARCHIVE_UNKNOWN' })
    writeFileSync(manifestOf(path), 'no manifest')
    await expect(bench.attach(path)).rejects.toMatchObject({ code: 'ARCHIVE_FILE' })
    expect(await bench.archivedRows()).toEqual([])
    writeFileSync(manifestOf(path), written)
    writeFileSync(path, whole)
    await bench.attach(path)
    await expectClean()
  })

  test('can be read in another database by who knows its SHA-256, whatever is in that', async () => {
    const { path, manifest } = await bench.retire(first)
    const other = await openRetentionBench()
    try {
      await expect(other.attach(path)).rejects.toMatchObject({ code: 'ARCHIVE_UNKNOWN' })
      const wrong = manifest.sha256.replace(/^./, (digit) => (digit === '0' ? '1' : '0'))
      await expect(other.attach(path, wrong)).rejects.toMatchObject({ code: 'ARCHIVE_UNKNOWN' })
      expect(await other.attach(path, manifest.sha256.toUpperCase())).toMatchObject({ events: 342 })
      expect(await other.archivedRows()).toHaveLength(342)
      expect((await audit(other.url)).map(({ ok }) => ok)).toEqual([true, true, true])
    } finally {
      await other.close()
    }
  })
})

const retireSteps = [
  'archive written',
  'archive renamed',
  'manifest written',
  'manifest renamed',
  'archive verified',
  'retire: locked',
  'retire: dropped',
  'retire: recorded',
]
const attachSteps = ['attach: table made', 'attach: some are loaded', 'attach: verified', 'attach: recorded']

describe('kill -9', () => {
  test.each(retireSteps)(
    'while a partition is retired, at "%s": nothing is lost, and it is done again (G4, G8)',
    async (step) => {
      const before = await bench.allRows()
      expect(await bench.killedAt(step, { retire: first })).toBe(true)
      await expectClean()
      expect(await bench.allRows()).toEqual(before)
      expect(await bench.killedAt('none', { retire: first })).toBe(false)
      await expectClean()
      const files = readdirSync(bench.folder)
      expect(files).toHaveLength(2)
      await bench.attach(join(bench.folder, files.find((name) => name.endsWith('.gz')) as string))
      await expectClean()
      const all = [...(await bench.allRows()), ...(await bench.archivedRows())]
      expect([...new Set(all)].toSorted()).toEqual(before.toSorted())
    },
  )

  test.each(attachSteps)(
    'while an archive is attached, at "%s": nothing is there twice, and it is done again (G4, G8)',
    async (step) => {
      const { path } = await bench.retire(first)
      const left = await bench.allRows()
      expect(await bench.killedAt(step, { attach: path })).toBe(true)
      expect(await bench.archivedRows()).toEqual([])
      await expectClean()
      expect(await bench.killedAt('none', { attach: path })).toBe(false)
      expect(await bench.archivedRows()).toHaveLength(342)
      expect(await bench.allRows()).toEqual(left)
      await expectClean()
    },
  )
})

describe('due', () => {
  const daysMs = 86_400_000
  test('is what was recorded and stored long ago; never what belongs to no week', async () => {
    const due = async (inDays: number): Promise<string[]> =>
      (await bench.partitions())
        .filter((one) => isDue(one, { nowMs: Date.now() + inDays * daysMs, olderThanMs: 90 * daysMs }))
        .map(({ partition }) => partition)
    // Recorded long ago, and stored just now.
    expect(await due(0)).toEqual(['events_20260119'])
    expect(await due(91)).toEqual([first, second, 'events_20260119'])
    await bench.database
      .query(`insert into tidegate.events (gateway, epoch, sequence, source, id, type, time, recorded_time, disposition, body)
      values ('g', 'e', 1, '/devices/d', 'i', 'com.acme.x', '1970-01-01Z', '1970-01-01Z', 'accepted', '{}'), ('g', 'e', 2, '/devices/d', 'j', 'com.acme.x', '9999-01-01Z', '9999-01-01Z', 'accepted', '{}')`)
    expect(await due(91)).toEqual(['events_before', first, second, 'events_20260119'])
  })
})

test('indexes that a partition lacks are made while everything works, and those that were begun are begun anew', async () => {
  await bench.database.query(`drop index tidegate.${first}_id`)
  await bench.database.query(`drop index tidegate.${first}_times`)
  await tamper(
    bench.url,
    `update pg_index set indisvalid = false where indexrelid = 'tidegate.${second}_order'::regclass`,
  )
  expect((await bench.partitions()).map(({ missingIndexes }) => missingIndexes).flat()).toEqual([
    `${first}_id`,
    `${first}_times`,
    `${second}_order`,
  ])
  await expect(bench.retire(first)).rejects.toMatchObject({ code: 'PARTITION_UNINDEXED' })
  expect(await asOwner(bench.database, ownerParts, (owner) => indexPartitions(owner))).toHaveLength(3)
  expect((await bench.partitions()).map(({ missingIndexes }) => missingIndexes).flat()).toEqual([])
  await bench.retire(first)
})

test('the owner may do it, in the database of a writer who may not, and who goes on (G8)', async () => {
  const urlOf = await createRoles(bench.url)
  const folder = bench.folder
  const superuser = poolOf({ url: bench.url, poolMax: 1, applicationName: 'test' })
  await superuser.query(readFileSync(handOver, 'utf8'))
  await superuser.close()
  const history = (role: Role, ...args: string[]): ReturnType<typeof command> =>
    command('history', ...args, '--database', urlOf(role))
  const migrating = poolOf({ url: urlOf('owner'), poolMax: 1, applicationName: 'test' })
  await migrated(migrating)
  await migrating.close()
  const archive = ['archive', '--partition', first, '--to', folder, '--drop', '--reason', 'as told']
  expect(await history('writer', ...archive)).toMatchObject({
    code: 1,
    stderr: expect.stringContaining('tidegate_owner') as string,
  })
  expect(await history('owner', ...archive)).toMatchObject({ code: 0 })
  const writer = poolOf({ url: urlOf('writer'), poolMax: 1, applicationName: 'test' })
  await store(writer, [...bench.events.slice(0, 30), bench.next.next('device-1', recorded(2))])
  const [file = ''] = readdirSync(folder).filter((name) => name.endsWith('.gz'))
  expect(await history('owner', 'attach', join(folder, file), '--reason', 'audit')).toMatchObject({ code: 0 })
  await store(writer, [bench.next.next('device-1', recorded(3))])
  await writer.close()
  const auditor = await command('audit', '--database', urlOf('auditor'))
  expect(auditor.stdout).toContain('complete and untouched')
  expect(auditor.code).toBe(0)
})

test('the command lists, archives, drops with a reason, and attaches', async () => {
  const history = (...args: string[]): ReturnType<typeof command> =>
    command('history', ...args, '--database', bench.url)
  expect((await history('partitions')).stdout).toMatch(/events_20260105 {2}2026-01-05 to 2026-01-12 {2}about/)
  const listed = JSON.parse((await history('partitions', '--count', '--json')).stdout) as {
    partitions: { events: number }[]
  }
  expect(listed.partitions.reduce((sum, { events }) => sum + events, 0)).toBe(bench.events.length - 1)
  const archive = ['archive', '--partition', first, '--to', bench.folder]
  expect((await history(...archive, '--drop')).stderr).toContain('--reason')
  expect((await history('archive', '--to', bench.folder)).stderr).toContain('--older-than')
  expect((await history(...archive, '--drop', '--dry-run')).stdout).toBe(
    `${first} would be archived and dropped\n`,
  )
  expect((await history('archive', '--older-than', '90d', '--to', bench.folder, '--dry-run')).stdout).toBe(
    'events_20260119 would be archived\n',
  )
  expect(readdirSync(bench.folder)).toEqual([])
  expect((await history(...archive)).stdout).toContain('342 events in')
  expect(await countIn(firstWeek)).toBe(342)
  const { stdout } = await history(...archive, '--drop', '--reason', 'older than 90 days')
  expect(stdout).toMatch(/is dropped, on record in the cloud's own ledger; 1 of its events stay\n$/)
  const [file = ''] = readdirSync(bench.folder).filter((name) => name.endsWith('.gz'))
  const attachable = basename(file, '.jsonl.gz')
  expect((await history('attach', join(bench.folder, file), '--reason', 'audit')).stdout).toBe(
    `342 events of ${attachable} are in tidegate.archived\n`,
  )
  expect((await history('partitions')).stdout).toMatch(
    new RegExp(`${attachable} {2}attached \\S+ {2}342 events\n$`),
  )
  await expectClean()
  expect((await history('detach', attachable, '--reason', 'over')).stdout).toBe(`${attachable} is detached\n`)
  const bad = await history('archive', '--partition', 'events_other', '--to', bench.folder)
  expect(bad).toMatchObject({ code: 1, stderr: expect.stringContaining('is never retired') as string })
})
