import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Client } from 'pg'
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import type { AuditSummary } from '../../../cloud/audit/report.ts'
import type { LedgerReport } from '../../../cloud/audit/ledger.ts'
import { command, copyOf, databaseWith, tamper } from '../../support/cloud/audited-database.ts'
import { rewritten } from '../../support/cloud/signed-ledger.ts'
import { type Encoded, Ledger } from '../../support/cloud/cloud-events.ts'

const epochs = ['01JGFJJZ00TESTTESTTESTTEST', '01JGFJJZ01TESTTESTTESTTEST'] as const
const count = 3000
const more = 20

const folder = mkdtempSync(join(tmpdir(), 'tidegate-marks-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))
const key = join(folder, 'audit.key')

interface Outcome {
  code: number
  stdout: string
  stderr: string
}
type Json = AuditSummary & { reports: (LedgerReport & { head: string })[] }

/** What the gateways recorded, whether or not it is stored. */
const first = new Ledger('gateway-1', epochs[0])
const second = new Ledger('gateway-2', epochs[1])
const texts: Encoded[] = []
const others: Encoded[] = []
let missing: Encoded
let behind: Encoded[]

/** As audited once: 3,000 and 50 events, of the first ledger the 1500th missing; the marks are a file of their own for each test. */
let audited: string
let made: Outcome
let marked: string
beforeAll(async () => {
  for (let at = 0; at < count; at += 1) texts.push(first.next('device-1'))
  const [lost] = texts.splice(1499, 1)
  missing = lost as Encoded
  for (let at = 0; at < 50; at += 1) others.push(second.next('device-2', { id: `other-${at}` }))
  behind = Array.from({ length: more }, () => first.next('device-1'))
  audited = await databaseWith([...texts, ...others])
  marked = join(folder, 'marked.json')
  made = await command('audit', 'key', key)
  await run(audited, marked, '--full')
})

function run(url: string, marks: string, ...args: string[]): Promise<Outcome> {
  return command('audit', '--database', url, '--marks', marks, '--key', key, ...args)
}

function expecting(url: string, ...args: string[]): Promise<Outcome> {
  return command('audit', '--database', url, '-g', 'gateway-2', '--expect', ...args)
}

const place = (sequence: number): string => `gateway-1/${epochs[0]}/${sequence}`

async function json(url: string, marks: string, ...args: string[]): Promise<Json & { code: number }> {
  const { code, stdout } = await run(url, marks, '--json', ...args)
  return { ...(JSON.parse(stdout) as Json), code }
}

/** A database as it was when it was marked, with what was done to it since, and marks of its own. */
async function since(
  change: string | ((client: Client) => Promise<void>),
): Promise<{ url: string; marks: string }> {
  const url = await copyOf(audited)
  const marks = join(folder, `${new URL(url).pathname.slice(1)}.json`)
  writeFileSync(marks, readFileSync(marked))
  await tamper(url, change)
  return { url, marks }
}

const columns =
  'gateway, epoch, sequence, source, id, type, subject, dataschema, time, recorded_time, stored_time, disposition, reason, body'

/** Stored as it is, in the transaction and at the time of today, or of before. */
async function store(client: Client, events: readonly Encoded[], old = ''): Promise<void> {
  for (const { event, text } of events)
    await client.query(
      `insert into tidegate.events (${columns}${old === '' ? '' : ', era, tx'})
       values ($1, $2, $3, $4, $5, $6, null, null, $7, $8, '2026-01-03', 'accepted', null, $9${old})`,
      [
        event.gateway,
        event.epoch,
        event.sequence,
        event.source,
        event.id,
        event.type,
        event.time,
        event.recordedtime,
        text,
      ],
    )
}

const inFront = `where gateway = 'gateway-1' and sequence`

describe('an audit that goes on from signed marks', () => {
  test('reads what is behind them alone, and says what an audit of the whole says (G8)', async () => {
    const { url, marks } = await since((client) => store(client, behind))
    const { reports: whole } = await json(url, join(folder, 'whole.json'), '--full')
    const { reports, unread } = await json(url, marks)
    expect(reports[0]).toMatchObject({ readFrom: count + 1, unread: count - 1, lastSequence: count + more })
    expect(unread).toBe(count - 1 + 50)
    expect(reports.map((report) => ({ ...report, readFrom: 1, unread: 0 }))).toEqual(whole)
    expect((await json(url, marks)).reports[0]).toMatchObject({ readFrom: count + more + 1 })
  })

  test('what was altered, removed or added behind them is found (G8)', async () => {
    const at = `${inFront} = ${count + 10}`
    for (const [change, fault] of [
      [
        `update tidegate.events set body = replace(body::text, 'temperature', 'humidity')::json ${at}`,
        'UNLINKED',
      ],
      [`delete from tidegate.events ${at}`, 'MISSING'],
    ] as const) {
      const { url, marks } = await since(async (client) => {
        await store(client, behind)
        await client.query(change)
      })
      const { code, stdout } = await run(url, marks)
      expect(code).toBe(1)
      expect(stdout).toContain(fault)
    }
  })

  test('a tail that was written anew with correct hashes is found at once, and so is one that was cut off (G8)', async () => {
    const anew = await rewritten(
      others.map(({ text }) => text),
      (event) => void (event.sequence === 20 && (event.data = { temperature: 0 })),
    )
    const { url, marks } = await since(async (client) => {
      await client.query(`delete from tidegate.events where gateway = 'gateway-2' and sequence >= 20`)
      // As if it had been there before.
      await store(client, anew.slice(19), `, 0, '0'`)
    })
    // What was marked stays marked, however often it is audited; without marks nothing is found.
    for (const args of [[], [], ['--full']]) {
      const { code, reports } = await json(url, marks, ...args)
      expect(code).toBe(1)
      expect(reports[1]?.faults).toMatchObject([{ kind: 'rewritten', sequence: 50 }])
    }
    expect((await json(url, join(folder, 'other.json'), '--full')).reports[1]).toMatchObject({ ok: true })
    const cut = await since(`delete from tidegate.events ${inFront} >= 2990`)
    expect((await json(cut.url, cut.marks)).reports[0]?.faults).toMatchObject([
      { kind: 'cut', sequence: count },
    ])
  })

  test('a mark never goes back, whatever somebody adds in front of it (G8)', async () => {
    const other = new Ledger('gateway-1', epochs[0])
    for (let at = 1; at < 2500; at += 1) other.skip()
    const added = other.next('device-1', { id: 'another', recordedtime: '2036-01-01T00:00:00.000Z' })
    const { url, marks } = await since((client) => store(client, [added]))
    // It is read from before that place, and nothing behind it is settled.
    expect((await json(url, marks, '--settle', '36500d')).reports[0]).toMatchObject({ readFrom: 2001 })
    await tamper(url, `delete from tidegate.events ${inFront} > 2600 or id = 'another'`)
    expect((await json(url, marks)).reports[0]?.faults).toMatchObject([{ kind: 'cut', sequence: count }])
  })

  test('a ledger that was removed whole is found (G8)', async () => {
    const { url, marks } = await since(`delete from tidegate.events where gateway = 'gateway-2'`)
    const { code, stdout } = await run(url, marks)
    expect(code).toBe(1)
    expect(stdout).toMatch(/ALARM gateway-2 .*[^]*CUT 50/)
    // Until a person says that it is to be so.
    expect((await run(url, marks, '--forget', `gateway-2/${epochs[1]}`)).stdout).not.toContain('CUT')
    expect((await run(url, marks)).stdout).not.toContain('CUT')
  })

  test.each([
    [
      'altered',
      `update tidegate.events set body = replace(body::text, 'temperature', 'humidity')::json ${inFront} = 700`,
    ],
    ['removed', `delete from tidegate.events ${inFront} = 700`],
  ])(
    'what was %s in front of them, and nothing after it, is found by --full (G8, where it ends)',
    async (_, change) => {
      const { url, marks } = await since(change)
      const before = (await json(url, marks)).reports[0]
      expect(before).toMatchObject({ faultCount: 0, gaps: { ranges: [[1500, 1500]] } })
      const after = (await json(url, marks, '--full')).reports[0]
      expect(after?.faultCount === 1 || after?.gaps.count === 2).toBe(true)
    },
  )

  test('what arrives late in front of them is read, and so is what is put back as it was (G8)', async () => {
    for (const old of ['', `, 0, '0'`]) {
      const { url, marks } = await since((client) => store(client, [missing], old))
      const { code, reports } = await json(url, marks)
      expect(code).toBe(0)
      expect(reports[0]).toMatchObject({ ok: true, present: { count }, gaps: { count: 0 } })
      expect(reports[0]?.readFrom).toBeLessThan(1500)
      // Until no transaction is open any more that began before it was stored, in whatever database of the server.
      await vi.waitFor(
        async () =>
          expect((await json(url, marks)).reports[0]).toMatchObject({ ok: true, readFrom: count + 1 }),
        { timeout: 20_000 },
      )
    }
  })

  test('a place that was added to a second week in front of them is a fault, and so it stays (G8)', async () => {
    const other = new Ledger('gateway-1', epochs[0])
    for (let at = 1; at < 700; at += 1) other.skip()
    const copied = other.next('device-1', { id: 'another', recordedtime: '2036-01-01T00:00:00.000Z' })
    const { url, marks } = await since((client) => store(client, [copied]))
    for (const args of [[], [], ['--full']]) {
      const { code, reports } = await json(url, marks, ...args)
      expect(code).toBe(1)
      expect(reports[0]?.faults).toMatchObject([{ sequence: 700, kind: 'doubled', id: 'another' }])
      expect(reports[0]?.present.count).toBe(count - 1)
    }
  })
})

describe('marks', () => {
  test('are believed if the key has signed them, and the public key is enough to verify them (G8)', async () => {
    expect(made.stdout).toMatch(/audit\.key {2}SHA-256 [0-9a-f]{64}$/m)
    expect(statSync(key).mode & 0o777).toBe(0o600)
    const marks = join(folder, 'checked.json')
    writeFileSync(marks, readFileSync(marked))
    const verified = await command('audit', '--database', audited, '--marks', marks, '--key', `${key}.pub`)
    expect(verified.stdout).toContain('not read: in front of marks')
    expect(readFileSync(marks, 'utf8')).toBe(readFileSync(marked, 'utf8'))
    writeFileSync(marks, readFileSync(marked, 'utf8').replace('"count":2999', '"count":2998'))
    const refused = await run(audited, marks)
    expect(refused.code).toBe(1)
    expect(refused.stderr).toContain('MARKS_FILE')
    expect((await run(audited, marks, '--full')).stderr).toContain('MARKS_FILE')
  })

  test('that are not there are an error, and no beginning: --full begins', async () => {
    const { code, stderr } = await run(audited, join(folder, 'none.json'))
    expect(code).toBe(1)
    expect(stderr).toMatch(/none\.json[^]*--full[^]*MARKS_FILE/)
    expect((await command('audit', '--database', audited, '--marks', marked)).stderr).toContain('--key')
    expect((await command('audit', 'key', key)).stderr).toContain('MARKS_KEY')
    expect((await run(audited, marked, '--forget', 'gatway-1/E')).stderr).toContain('OPTIONS_INVALID')
  })
})

describe('a head that was saved elsewhere', () => {
  test('is demanded, in the form in which it was printed: a restore that lost the end is found at once (G8)', async () => {
    const { stdout } = await command('audit', '--database', audited)
    const heads = [...stdout.matchAll(/^ +head (\S+)$/gm)].map(([, head]) => String(head))
    expect(heads).toHaveLength(2)
    const file = join(folder, 'heads.txt')
    writeFileSync(file, `# saved\n${heads.join('\n')}\n`)
    expect(await expecting(audited, String(heads[1]))).toMatchObject({ code: 0 })
    // Of another gateway, it would not be looked at.
    expect((await expecting(audited, `@${file}`)).stderr).toContain('OPTIONS_INVALID')
    const { url } = await since(`delete from tidegate.events where gateway = 'gateway-2' and sequence > 40`)
    const cut = await command('audit', '--database', url, '--expect', `@${file}`)
    expect(cut.code).toBe(1)
    expect(cut.stdout).toContain('CUT 50  a head of it that was kept is not there: it ends at 40')
    const other = await expecting(audited, String(heads[1]).replace(/.{43}$/, 'A'.repeat(43)))
    expect(other.code).toBe(1)
    expect(other.stdout).toContain('REWRITTEN 50')
  })

  test('that cannot be read is refused before anything begins', async () => {
    expect(await command('audit', '--database', audited, '--expect', 'gateway-1')).toMatchObject({ code: 2 })
    const wrong = await command('audit', '--database', audited, '--expect', `@${marked}`)
    expect(wrong).toMatchObject({ code: 1 })
    expect(wrong.stderr).toContain('HEADS_FILE')
  })
})

test('an identity that is stored twice, in weeks far apart, is found with both places, and told whether it says the same', async () => {
  const later = { recordedtime: '2036-01-01T00:00:00.000Z' }
  const again = first.next('device-1', { ...later, id: 'id-7', data: { temperature: 20.7 } })
  const rival = first.next('device-1', { ...later, id: 'id-8', data: { temperature: -1 } })
  const { url } = await since((client) => store(client, [again, rival]))
  expect(await command('audit', '--database', audited, '--duplicates')).toMatchObject({
    code: 0,
    stdout: 'no event is stored twice\n',
  })
  const { code, stdout } = await command('audit', '--database', url, '--duplicates')
  expect(code).toBe(1)
  expect(stdout.split('\n').slice(0, 3)).toEqual([
    `IDENTITY /devices/device-1 id-7: at ${place(7)} and at ${place(again.event.sequence)}; the same event`,
    `IDENTITY /devices/device-1 id-8: at ${place(8)} and at ${place(rival.event.sequence)}; they say different things`,
    '2 events are stored more than once',
  ])
})
