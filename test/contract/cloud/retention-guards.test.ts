import { createHash } from 'node:crypto'
import { existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import type { LedgerReport } from '../../../cloud/audit/ledger.ts'
import { manifestOf } from '../../../cloud/retention/archive-file.ts'
import { asOwner, type OwnerParts } from '../../../cloud/retention/owner-postgres.ts'
import {
  dueTime,
  isDue,
  listPartitions,
  type Retirable,
} from '../../../cloud/retention/partitions-postgres.ts'
import { keptSelects } from '../../../cloud/retention/drop-postgres.ts'
import {
  type Archived,
  archivePartition,
  retirePartition,
  whileLocked,
} from '../../../cloud/retention/retire-postgres.ts'
import { codeOf } from '../../../src/errors.ts'
import { audit, command, tamper } from '../../support/cloud/audited-database.ts'
import { type Encoded, Ledger } from '../../support/cloud/cloud-events.ts'
import {
  epochs,
  first,
  openRetentionBench,
  ownerParts,
  recorded,
  type RetentionBench,
  second,
  someDeed,
} from '../../support/cloud/retention-bench.ts'

let bench: RetentionBench
beforeEach(async () => {
  bench = await openRetentionBench()
})
afterEach(() => bench.close())

async function auditOf(gateway: string): Promise<LedgerReport> {
  const report = (await audit(bench.url)).find((one) => one.gateway === gateway)
  if (report === undefined) throw new Error(`nothing of ${gateway}`)
  return report
}

/** What a gateway with an outbox of before says, under a number that it had used. */
function numberedAnew(sequence: number, day: number): Encoded {
  const ledger = new Ledger('gateway-1', epochs[0])
  for (let n = 1; n < sequence; n++) ledger.skip()
  return ledger.next('device-1', { ...recorded(day), id: `anew-${sequence}`, data: { temperature: 99 } })
}

/** What the cloud's user may write. */
const insertSql = `
insert into tidegate.events (gateway, epoch, sequence, source, id, type, time, recorded_time, disposition, body)
values ($1, $2, $3, $4, $5, $6, $7, $8, 'accepted', $9::json)`

async function insert({ event, text }: Encoded): Promise<void> {
  const { gateway, epoch, sequence, source, id, type, time, recordedtime } = event
  await bench.database.query(insertSql, [
    gateway,
    epoch,
    sequence,
    source,
    id,
    type,
    time,
    recordedtime,
    text,
  ])
}

/** Archives a partition, lets something happen, and drops it. */
function between(
  what: (archived: Archived) => Promise<void> | void,
  parts: OwnerParts = ownerParts,
): Promise<string> {
  return asOwner(bench.database, parts, async (owner) => {
    const all = await listPartitions(owner.query, { count: false })
    const standing = all.find(({ partition }) => partition === first) as Retirable
    const archived = await archivePartition(standing, { owner, folder: bench.folder, keepFaulty: false })
    await what(archived)
    return retirePartition(archived, someDeed(), owner).then(() => 'dropped', codeOf)
  })
}

/** Of another gateway each day, into the first week. */
function late(day: number): Encoded {
  const ledger = new Ledger('gateway-8', `01JGFJJZ0${day}TESTTESTTESTTEST`)
  return ledger.next('device-8', { ...recorded(day), id: `late-${day}` })
}

function dueAt(nowMs: number): Promise<number> {
  const clock = { ...ownerParts.clock, now: () => nowMs }
  return asOwner(bench.database, { ...ownerParts, clock }, async (owner) =>
    dueTime(owner, await listPartitions(owner.query, { count: false })),
  )
}

describe('a place that was retired', () => {
  test('is filled by nobody: what is written there is named, and the rest is as it was (G8)', async () => {
    await bench.retire(first)
    await insert(numberedAnew(150, 15))
    await insert(numberedAnew(300, 15))
    const report = await auditOf('gateway-1')
    expect(report).toMatchObject({
      ok: false,
      chain: 'intact',
      unverifiedLinks: 0,
      present: { count: 50 },
      retired: { ranges: [[1, 300]] },
    })
    expect(report.faults).toMatchObject([
      { kind: 'doubled', sequence: 150 },
      { kind: 'doubled', sequence: 300 },
    ])
  })

  test('nor while its archive is attached (G8)', async () => {
    const { path } = await bench.retire(first)
    await bench.attach(path)
    await insert(numberedAnew(150, 15))
    expect(await auditOf('gateway-1')).toMatchObject({
      retired: { ranges: [[1, 300]] },
      faults: [{ kind: 'doubled', sequence: 150 }],
    })
  })

  test.each([1, 40])(
    'and is numbered anew in a week that is there: it is set aside, %d at once, and not stored (G4, G8)',
    async (count) => {
      await bench.retire(first)
      const some = Array.from({ length: count }, (_, index) => numberedAnew(150 + index, 15))
      expect(new Set(await bench.append(some))).toEqual(new Set(['place-taken']))
      expect(new Set(await bench.append(bench.events.slice(20, 20 + count)))).toEqual(new Set(['again']))
      expect(await bench.append([numberedAnew(151, 2)])).toEqual(['again'])
      expect((await audit(bench.url)).map(({ ok }) => ok)).toEqual([true, true, true])
    },
  )
})

describe('repeats whose original goes', () => {
  const noteSql = `
    insert into tidegate.ledger_notes (gateway, epoch, from_sequence, to_sequence, reason, chain, event_epoch, event_sequence, body)
    values ($1, $2, $3, $3, 'duplicate', $4, $2, $3, $5::json)`

  test('are believed one by one: forged notes of before excuse nothing that is lost later (G8)', async () => {
    const original = JSON.parse((bench.events[19] as Encoded).text) as object
    for (const time of ['0001-01-01T00:00:00Z', '9999-01-01T00:00:00Z']) {
      const text = JSON.stringify({ ...original, recordedtime: time })
      await bench.database.query(noteSql, ['nobody', `nowhere ${time}`, 1, 'x', text])
    }
    await bench.retire(first)
    const more = [60, 61, 62].map((day) => bench.next.next('device-1', recorded(day))) as [
      Encoded,
      Encoded,
      Encoded,
    ]
    await bench.store([more[0], more[2]])
    const { event, text } = more[1]
    const { chain } = JSON.parse(text) as { chain: string }
    await bench.database.query(noteSql, ['gateway-1', epochs[0], event.sequence, chain, text])
    expect(await auditOf('gateway-1')).toMatchObject({
      ok: false,
      faults: [{ kind: 'unfounded', sequence: event.sequence }],
      gaps: { ranges: [[event.sequence, event.sequence]] },
    })
  })

  test('are in none of what is believed when they are taken out of it or added to it (G8)', async () => {
    await bench.retire(first)
    expect(await auditOf('gateway-1')).toMatchObject({ ok: true })
    await tamper(
      bench.url,
      `insert into tidegate.retired_repeats select retirement, '\\x00' from tidegate.retirements`,
    )
    expect(await auditOf('gateway-1')).toMatchObject({ ok: false, gaps: { ranges: [[1, 300]] } })
  })
})

test('only one at a time takes history apart: another is told so, and may come when that has ended', async () => {
  const once = (): Promise<string> => asOwner(bench.database, ownerParts, async () => 'done')
  const within = asOwner(bench.database, ownerParts, once)
  await expect(within).rejects.toMatchObject({ code: 'HISTORY_BUSY', retryable: true })
  expect(await once()).toBe('done')
})

describe('a drop', () => {
  test.each([
    ['another one', (manifest: object) => JSON.stringify({ ...manifest, bytes: 1 }), 'ARCHIVE_ALTERED'],
    ['none', () => 'no manifest', 'ARCHIVE_FILE'],
  ])(
    'needs the manifest on the disk that was written: where it is %s, nothing is dropped (G8)',
    async (_, other, code) => {
      const before = await bench.allRows()
      const debug = ({ step }: { step?: string }): void => {
        if (step !== 'manifest renamed') return
        const [name = ''] = readdirSync(bench.folder).filter((file) => file.endsWith('.gz'))
        const path = manifestOf(join(bench.folder, name))
        writeFileSync(path, other(JSON.parse(readFileSync(path, 'utf8')) as object))
      }
      const log = { ...ownerParts.log, debug } as unknown as typeof ownerParts.log
      await expect(between(() => {}, { ...ownerParts, log })).rejects.toMatchObject({ code })
      expect(await bench.allRows()).toEqual(before)
    },
  )

  test('needs the archive that was verified: gone, or another one, nothing is dropped (G8)', async () => {
    const before = await bench.allRows()
    expect(await between(({ path }) => rmSync(path))).toBe('ARCHIVE_FILE')
    expect(await between(({ path }) => rmSync(manifestOf(path)))).toBe('ARCHIVE_FILE')
    expect(await between(({ path }) => writeFileSync(path, readFileSync(path)))).toBe('ARCHIVE_ALTERED')
    expect(await bench.allRows()).toEqual(before)
    expect(await between(() => {})).toBe('dropped')
  })

  test('that is refused takes away the archive that it made, and none that was there (G8)', async () => {
    expect(await between(() => bench.store([late(1)]))).toBe('PARTITION_CHANGED')
    expect(readdirSync(bench.folder)).toEqual([])
    const { path } = await bench.archive(first)
    expect(await between(() => bench.store([late(2)]))).toBe('PARTITION_CHANGED')
    expect([path, manifestOf(path)].map((file) => existsSync(file))).toEqual([true, true])
  })

  test('of a partition that a view rests on names it, and the others are dropped', async () => {
    await tamper(bench.url, `create view public.somebodys as select * from tidegate.${first}`)
    const failure: unknown = await bench.retire(first).catch((error: unknown) => error)
    expect(failure).toMatchObject({
      code: 'PARTITION_DEPENDED',
      message: expect.stringContaining('somebodys') as string,
    })
    const args = ['--to', bench.folder, '--drop', '--reason', 'r', '--database', bench.url]
    const { code, stderr } = await command('history', 'archive', '--partition', first, ...args)
    expect([code, stderr.includes('PARTITION_DEPENDED')]).toEqual([1, true])
    await bench.retire(second)
  })

  test('reads nothing of a partition but what it looks for, while others wait', async () => {
    await tamper(bench.url, async (client) => {
      await client.query(
        `insert into tidegate.events (gateway, epoch, sequence, source, id, type, time, recorded_time, disposition, body)
         select 'large', '01JGFJJZ06TESTTESTTESTTEST', n, '/devices/d', 'large-' || n, 'x', '2026-01-06Z', '2026-01-06Z', 'accepted', '{}'
         from generate_series(1, 20000) as n`,
      )
      await client.query(`analyze tidegate.${first}`)
      for (const setting of whileLocked) await client.query(`set ${setting}`)
      const { kinds, faulty } = keptSelects(`tidegate.${first}`)
      const places = [['gateway-1'], [epochs[0]], [17]]
      for (const [sql, values] of [...kinds.map((kind) => [kind, []] as const), [faulty, places] as const]) {
        const explained = await client.query<{ 'QUERY PLAN': [{ Plan: { 'Shared Hit Blocks': number } }] }>(
          `explain (analyze, buffers, format json) ${sql}`,
          [...values],
        )
        expect(explained.rows[0]?.['QUERY PLAN'][0].Plan['Shared Hit Blocks']).toBeLessThan(50)
      }
    })
  })

  test('takes nothing to an archive that was added in a place that is retired, and forgets nothing of it (G8)', async () => {
    await bench.retire(first)
    await insert(numberedAnew(150, 8))
    await expect(bench.retire(second)).rejects.toMatchObject({ code: 'ARCHIVE_REFUSED' })
    await bench.retire(second, true)
    expect(await auditOf('gateway-1')).toMatchObject({ faults: [{ kind: 'doubled', sequence: 150 }] })
  })

  test('keeps how far an acceptance reached before it locks anything, once', async () => {
    const steps: string[] = []
    const debug = ({ step = '' }: { step?: string }): void => void steps.push(step)
    const log = { ...ownerParts.log, debug } as unknown as typeof ownerParts.log
    expect(await between(() => {}, { ...ownerParts, log })).toBe('dropped')
    expect(steps.indexOf('retire: acceptances kept')).toBeGreaterThanOrEqual(0)
    expect(steps.indexOf('retire: acceptances kept')).toBeLessThan(steps.indexOf('retire: locked'))
  })
})

test('what was recorded before there were weeks is retired once, though the losses that are told in it stay', async () => {
  const epoch = '01JGFJJZ07TESTTESTTESTTEST'
  const ledger = new Ledger('gateway-7', epoch)
  const some = [ledger.next('device-7', { recordedtime: '2025-11-01T00:00:00.000Z' })]
  ledger.skip()
  const data = { kind: 'undelivered', epoch, ranges: [{ from: 2, to: 2, reason: 'lost' }] }
  const type = 'dev.tidegate.ledger'
  const recordedtime = '2025-11-02T00:00:00.000Z'
  some.push(ledger.next('gateway-7', { recordedtime, type, source: '/gateways/gateway-7', data }))
  await bench.store(some)
  const due = async (): Promise<boolean> => {
    const [before] = await bench.partitions()
    const olderThanMs = 300 * 86_400_000
    return before !== undefined && isDue(before, { nowMs: Date.now() + 400 * 86_400_000, olderThanMs })
  }
  expect(await due()).toBe(true)
  await bench.retire('events_before')
  expect((await bench.partitions())[0]).toMatchObject({ partition: 'events_before', events: 1 })
  expect(await due()).toBe(false)
  await bench.store([ledger.next('device-7', { recordedtime, id: 'late' })])
  expect(await due()).toBe(true)
})

describe('an attached archive', () => {
  test('of which rows are gone is named, and how much of it was read is said (G8)', async () => {
    const { path } = await bench.retire(first)
    expect(await auditOf('gateway-1')).toMatchObject({ ok: true, retiredRead: 0 })
    await bench.attach(path)
    expect(await auditOf('gateway-1')).toMatchObject({ ok: true, retiredRead: 300 })
    await tamper(
      bench.url,
      `delete from tidegate.archived where gateway = 'gateway-1' and (sequence between 100 and 200 or sequence = 300)`,
    )
    expect(await auditOf('gateway-1')).toMatchObject({
      ok: false,
      retiredRead: 198,
      retired: { ranges: [[1, 300]] },
      faults: [
        { kind: 'incomplete', sequence: 100 },
        { kind: 'incomplete', sequence: 300 },
      ],
    })
  })

  test('stays when its file comes again under another name of its partition', async () => {
    const { path, manifest } = await bench.retire(first)
    await bench.attach(path)
    writeFileSync(manifestOf(path), JSON.stringify({ ...manifest, partition: 'events_zzz' }))
    await expect(bench.attach(path, manifest.sha256)).rejects.toMatchObject({ code: 'ARCHIVE_UNKNOWN' })
    await expect(bench.attach(path)).rejects.toMatchObject({ code: 'ARCHIVE_UNKNOWN' })
    expect(await bench.archivedRows()).toHaveLength(342)
  })

  test('is read with a memory that has an end: a line without one, and a manifest of any size, are refused', async () => {
    const { path, manifest } = await bench.retire(first)
    const endless = gzipSync(Buffer.alloc(24_000_000, 'a'))
    const sha256 = createHash('sha256').update(endless).digest('hex')
    writeFileSync(path, endless)
    await expect(bench.attach(path)).rejects.toMatchObject({
      code: 'ARCHIVE_ALTERED',
      message: expect.stringContaining('SHA-256') as string,
    })
    writeFileSync(manifestOf(path), JSON.stringify({ ...manifest, sha256 }))
    await expect(bench.attach(path, sha256)).rejects.toMatchObject({
      code: 'ARCHIVE_ALTERED',
      message: expect.stringContaining('longer than') as string,
    })
    writeFileSync(manifestOf(path), Buffer.alloc(140_000_000, ' '))
    await expect(bench.attach(path)).rejects.toMatchObject({
      code: 'ARCHIVE_FILE',
      message: expect.stringContaining('larger than') as string,
    })
  })
})

describe('a clock of the database that is wrong', () => {
  test('makes nothing due: it is far from that of who asks', async () => {
    expect(await dueAt(Date.now())).toBeGreaterThan(Date.now() - 60_000)
    for (const offMs of [-2, 2].map((hours) => hours * 3_600_000))
      await expect(dueAt(Date.now() + offMs)).rejects.toMatchObject({ code: 'CLOCK_DOUBTED' })
  })

  test('nor if it is far from when the newest event was stored', async () => {
    await tamper(bench.url, `update tidegate.events set stored_time = stored_time - interval '100 days'`)
    await expect(dueAt(Date.now())).rejects.toMatchObject({ code: 'CLOCK_DOUBTED' })
  })
})
