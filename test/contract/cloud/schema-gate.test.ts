import { createHash } from 'node:crypto'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, dirname, join } from 'node:path'
import { Command } from 'commander'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { createDatabase, type Database, type Session } from '../../../cloud/database/database-postgres.ts'
import { shapes } from '../../../cloud/projections/built-in/shapes.ts'
import { checkFolder } from '../../../cloud/schemas/checks.ts'
import { registerSchemaCommand } from '../../../cloud/schemas/command.ts'
import type { GateOptions, GateReport } from '../../../cloud/schemas/gate/gate.ts'
import { storedGate } from '../../../cloud/schemas/gate/stored-gate.ts'
import { openGateSession, postgresStored } from '../../../cloud/schemas/gate/stored-postgres.ts'
import type { RunningProjections } from '../../../cloud/projections/projections.ts'
import { type Encoded, Ledger } from '../../support/cloud/cloud-events.ts'
import { allReadable } from '../../support/cloud/history-filled.ts'
import { openProjectionBench, type ProjectionBench } from '../../support/cloud/projection-bench.ts'
import { first, makeWeeks, recorded, second } from '../../support/cloud/retention-bench.ts'
import { locked, schemasOf, sourceOf } from '../../support/cloud/schemas/sources.ts'

let bench: ProjectionBench
let owner: Database
let reader: Database
let session: Session
let ledger: Ledger
let running: RunningProjections | undefined
beforeEach(async () => {
  bench = await openProjectionBench()
  owner = createDatabase({ url: bench.databaseUrl, poolMax: 2, applicationName: 'test-owner' })
  await makeWeeks(owner)
  reader = createDatabase({ url: bench.urlOf('reader'), poolMax: 2, applicationName: 'test-gate' })
  session = await openGateSession(reader)
  ledger = new Ledger()
})
afterEach(async () => {
  await session.end()
  await reader.close()
  await bench.close()
  await owner.close()
  running = undefined
})

const climate = 'com.acme.climate'
const upTo = (maximum: number, more: object = {}): object => ({
  type: 'object',
  properties: { temperature: { type: 'number', maximum }, ...more },
  required: ['temperature'],
})

const site = (format: object = {}): object => upTo(500, { site: { type: 'string', ...format } })

const reading = (day: number, temperature: unknown, more: object = {}): Encoded =>
  ledger.next(`sensor-${day}`, {
    data: { temperature },
    dataschema: `${climate}/1`,
    ...recorded(day),
    ...more,
  })

/** As far as the shapes go, and no further. */
async function shaped(): Promise<void> {
  running = bench.start([shapes])
  await bench.live('shapes')
  await running.close()
}

async function judge(files: Record<string, unknown>, options: GateOptions = {}): Promise<GateReport> {
  const folder = schemasOf(files)
  expect(folder.faults).toEqual([])
  await allReadable(owner)
  return storedGate(postgresStored(reader, session)).judge(folder, checkFolder(folder, []), options)
}

const two = (later: object, more: Record<string, unknown> = {}): Record<string, unknown> => ({
  [`${climate}/1.json`]: upTo(500),
  [`${climate}/2.json`]: later,
  ...more,
})

async function letter(encoded: Encoded, code: string, state = 'open'): Promise<void> {
  const key = createHash('sha256').update(encoded.text).digest()
  await bench.rows(
    `insert into tidegate.dead_letters (consumer_group, key, source, id, type, body, properties, headers, routing_key, queue, fingerprint,
       code, message, attempts, failures, instance, first_failed_at, last_failed_at, state, closed_at)
     values ('alerts', $1, $2, $3, $4, $5, '{}', '{}', '', '', 'f', $6, '', 1, '[]', 'i', now(), now(), $7, $8)`,
    [
      key,
      encoded.event.source,
      encoded.event.id,
      encoded.event.type,
      Buffer.from(encoded.text),
      code,
      state,
      state === 'open' ? null : new Date(),
    ],
  )
}

/** What the command prints of schemas that are published but for the second version, and ends with. */
async function command(
  files: Record<string, unknown>,
  ...words: string[]
): Promise<{ text: string; code: number }> {
  const dir = mkdtempSync(join(tmpdir(), 'tidegate-gate-'))
  const lines: string[] = []
  let code = 0
  const published = Object.keys(files).filter((name) => !name.endsWith('type.yaml'))
  await allReadable(owner)
  try {
    for (const [name, bytes] of sourceOf(locked(files, published)).files) {
      mkdirSync(dirname(join(dir, name)), { recursive: true })
      writeFileSync(join(dir, name), bytes)
    }
    const program = new Command('tidegate').exitOverride()
    registerSchemaCommand(program, { say: (text) => lines.push(text), onFound: () => (code = 1) })
    const config = join(dir, '..', `${basename(dir)}.yaml`)
    const schemas = { folder: dir, formats: 'annotation' }
    writeFileSync(config, JSON.stringify({ database: { url: bench.urlOf('reader') }, schemas }))
    const said = words.includes('as configured')
      ? ['--config', config]
      : ['--folder', dir, '--database', bench.urlOf('reader'), ...words]
    await program.parseAsync(['schema', 'check', '--stored', ...said], { from: 'user' })
    rmSync(config)
  } finally {
    rmSync(dir, { recursive: true, force: true })
  }
  return { text: lines.join('\n'), code }
}

describe('the gate over what is stored', () => {
  test('reads nothing where shapes show that nothing can fail', async () => {
    await bench.store([reading(0, 20), reading(1, 151.2), reading(8, 21)])
    await shaped()
    const { ok, verdicts, withoutShapes } = await judge(two(upTo(500, { site: { type: 'string' } })))
    expect(withoutShapes).toBeUndefined()
    expect(ok).toBe(true)
    expect(verdicts).toMatchObject([
      {
        type: climate,
        version: 2,
        groups: [{ version: 1, stored: 3, failing: 0, standing: 'fine' }],
        partitions: { read: [] },
      },
    ])
  })

  test('reads the partitions that can fail, and says how many do and which is the first', async () => {
    await bench.store([reading(0, 20), reading(8, 21), reading(9, 151.2), reading(10, 160), reading(15, 22)])
    await shaped()
    const { ok, verdicts } = await judge(two(upTo(150)))
    expect(ok).toBe(false)
    expect(verdicts[0]?.partitions.read).toEqual([second])
    expect(verdicts[0]?.groups).toMatchObject([
      {
        version: 1,
        stored: 5,
        failing: 2,
        standing: 'fails',
        first: {
          source: '/devices/sensor-9',
          id: 'id-3',
          fault: '/temperature must be <= 150',
          value: '151.2',
          code: 'UPCAST_MISSING',
          recordedTime: recorded(9).recordedtime,
        },
      },
    ])
  })

  test('without shapes it reads everything, and comes to the same', async () => {
    await bench.store([reading(0, 20), reading(9, 151.2), reading(15, 22)])
    const { withoutShapes, verdicts } = await judge(two(upTo(150)))
    expect(withoutShapes).toMatch(/projection shapes is not there/)
    expect(verdicts[0]).toMatchObject({ groups: [{ stored: 3, failing: 1 }] })
    expect(verdicts[0]?.partitions.read).toContain(first)
  })

  test('what was stored after the shapes is read', async () => {
    await bench.store([reading(0, 20)])
    await shaped()
    await bench.store([reading(1, 151.2), reading(2, 30)])
    const { upTo: horizon, verdicts } = await judge(two(upTo(150)))
    expect(horizon).toMatch(/^\d+\.\d+\.\d+$/)
    expect(verdicts[0]).toMatchObject({
      groups: [{ stored: 3, failing: 1, first: { id: 'id-2' } }],
      partitions: { read: [] },
    })
  })

  test('shapes are believed of a partition only where they have counted each of its events', async () => {
    await bench.store([reading(0, 20), reading(1, 151.2), reading(9, 30)])
    await shaped()
    // As of what was left out of them, or came back of an archive.
    await bench.rows(`delete from projection_shapes_1.shapes where week < '2026-01-12T00:00:00Z'`)
    const { verdicts } = await judge(two(upTo(150)))
    expect(verdicts[0]).toMatchObject({ groups: [{ stored: 3, failing: 1 }], partitions: { read: [first] } })
  })

  test('weeks that history has no more are neither counted nor read', async () => {
    await bench.store([reading(0, 20), reading(9, 151.2)])
    await shaped()
    await owner.query(`alter table tidegate.events detach partition tidegate.${second}`)
    const { ok, verdicts } = await judge(two(upTo(150)))
    expect(ok).toBe(true)
    expect(verdicts[0]).toMatchObject({ groups: [{ stored: 1, failing: 0 }], partitions: { read: [] } })
  })

  test('an event that was recorded at a time that has no partition of its own is found', async () => {
    await bench.store([reading(0, 20), reading(400, 151.2), reading(-400, 152)])
    await shaped()
    const { verdicts } = await judge(two(upTo(150)))
    expect(verdicts[0]).toMatchObject({
      groups: [{ stored: 3, failing: 2 }],
      partitions: { read: ['events_before', 'events_other'] },
    })
  })

  test('upcasters bring old events forward, as the cloud does when it reads them', async () => {
    await bench.store([reading(0, 300), reading(1, 400)])
    await shaped()
    const files = two(upTo(190), {
      [`${climate}/upcast/1-2.yaml`]: '- unit: { path: /temperature, scale: 0.5 }\n',
    })
    const { ok, verdicts } = await judge(files)
    expect(ok).toBe(false)
    expect(verdicts[0]?.groups).toMatchObject([
      { stored: 2, failing: 1, first: { id: 'id-2', code: 'UPCAST_FAILED' } },
    ])
  })

  test('an event that names the version before the cloud knows it is held against it', async () => {
    await bench.store([reading(0, 20), reading(1, 999, { dataschema: `${climate}/2` })])
    await shaped()
    const { ok, verdicts } = await judge(two(upTo(600)))
    expect(ok).toBe(false)
    expect(verdicts[0]?.groups).toMatchObject([
      { version: 1, stored: 1, standing: 'fine' },
      { version: 2, stored: 1, failing: 1, standing: 'fails', first: { code: 'SCHEMA_VIOLATION' } },
    ])
  })

  test('events that name no version are told of, and in the way of nothing', async () => {
    await bench.store([
      reading(0, 'warm', { dataschema: undefined }),
      reading(1, 5, { dataschema: undefined }),
    ])
    await shaped()
    const { ok, verdicts } = await judge(two(upTo(600)))
    expect(ok).toBe(true)
    expect(verdicts[0]?.groups).toMatchObject([
      { version: undefined, stored: 2, failing: 1, standing: 'told', first: { code: 'UPCAST_FAILED' } },
    ])
  })

  test('what fails is accepted with a reason in type.yaml', async () => {
    await bench.store([reading(0, 151.2)])
    const because = 'a broken sensor, nobody reads it'
    const { ok, verdicts } = await judge(
      two(upTo(150), {
        [`${climate}/type.yaml`]: `accepted:\n  - { version: 2, against: 1, rule: stored, path: '', reason: '${because}' }\n`,
      }),
    )
    expect(ok).toBe(true)
    expect(verdicts[0]?.groups).toMatchObject([{ failing: 1, standing: 'accepted', because }])
  })

  test('of what is not accepted, or of another type, nothing is counted', async () => {
    await bench.store([reading(0, 999)], 'rejected')
    await bench.store([reading(1, 20), reading(2, 999, { type: 'com.acme.other' })])
    const whole = await judge(two(upTo(150)))
    expect(whole.verdicts[0]).toMatchObject({ groups: [{ stored: 1, failing: 0 }] })
    await shaped()
    const { ok, verdicts } = await judge(two(upTo(150)))
    expect(ok).toBe(true)
    expect(verdicts[0]).toMatchObject({ groups: [{ stored: 1, failing: 0 }], partitions: { read: [] } })
  })

  test('names that are of no version of the type are of none, however it comes to know of them', async () => {
    const names = [undefined, 'other/1', `${climate}/v2`, `${climate}/01`, `${climate}/`, `${climate}/3`]
    await bench.store([reading(0, 25), ...names.map((dataschema, at) => reading(1, 90 + at, { dataschema }))])
    const whole = await judge(two(upTo(30)))
    await shaped()
    const asked = await judge(two(upTo(30)))
    const fine = await judge(two(upTo(500)))
    expect(whole.verdicts[0]?.groups).toMatchObject([
      { version: undefined, stored: 5 },
      { version: 1, stored: 1 },
    ])
    expect(asked.verdicts[0]?.groups).toEqual(whole.verdicts[0]?.groups)
    expect(fine.verdicts[0]).toMatchObject({
      groups: [{ version: undefined, stored: 5 }, { stored: 1 }],
      partitions: { read: [] },
    })
  })

  test('a partition that lacks the index is not read page by page, each of them whole (G7)', async () => {
    await bench.store([reading(0, 20)])
    await owner.query('drop index tidegate.events_before_type')
    await expect(judge(two(upTo(150)))).rejects.toMatchObject({
      code: 'PARTITION_UNINDEXED',
      message: /events_before: there is no index by type/,
      hint: /tidegate history index/,
    })
  })

  test('open dead letters: how many would pass, and how many others would be refused', async () => {
    await letter(reading(0, 120), 'UPCAST_MISSING')
    await letter(reading(1, 170), 'UPCAST_MISSING')
    await letter(reading(2, 120, { dataschema: `${climate}/2` }), 'SCHEMA_UNKNOWN')
    await letter(reading(3, 120), 'HANDLER_FAILED')
    await letter(reading(4, 170), 'HANDLER_FAILED')
    await letter(reading(5, 120), 'UPCAST_MISSING', 'resolved')
    const { ok, verdicts } = await judge(two(upTo(150)))
    expect(ok).toBe(true)
    expect(verdicts[0]?.letters).toEqual({ refused: 3, wouldPass: 2, others: 2, wouldFail: 1 })
  })

  test('each of many letters is judged once', async () => {
    for (let at = 0; at < 120; at += 1) await letter(reading(at % 7, 20), 'UPCAST_MISSING')
    const { verdicts } = await judge(two(upTo(150)))
    expect(verdicts[0]?.letters).toMatchObject({ refused: 120, wouldPass: 120 })
  })

  test('tidegate schema check --stored says it, as a reader of the database, and ends with 1', async () => {
    await bench.store([reading(0, 20), reading(9, 151.2)])
    await shaped()
    const fine = await command(two(upTo(500, { site: { type: 'string' } })), '--strict')
    expect(fine.text).toMatch(/settled by what is stored: none of 2 events of version 1 fails/)
    expect(fine.text).toMatch(/stored: nothing in the way: 0 of 2 events would fail, up to \d+\.\d+\.\d+;/)
    expect(fine.code).toBe(0)
    const { text, code } = await command(two(upTo(150)))
    expect(text).toMatch(
      /FAILS {6}1 of 2 stored events of version 1 would fail, first at [\d.]+ \(sensor-9, 2026-01-14T12:00:00\.000Z: \/temperature must be <= 150, and is 151\.2; UPCAST_MISSING\)/,
    )
    expect(text).toMatch(/1 of \d+ partitions were read, for the shapes exclude the others/)
    expect(code).toBe(1)
  })

  test('what is found of open models counts, with --strict, if something stored fails', async () => {
    await bench.store([reading(0, 20, { data: { temperature: 20, site: 7 } })])
    const later = upTo(500, { site: { type: 'string' } })
    const { text, code } = await command(two(later), '--strict')
    expect(text).toMatch(
      /not settled by what is stored: 1 of 1 event of version 1 fail, for this or for something else: first [^:]+ \(sensor-0, .*\/site must be string; UPCAST_MISSING\); --strict counts it/,
    )
    expect(text).toMatch(/\/site must be string, and is 7/)
    expect(code).toBe(1)
    const accepted = `accepted:\n  - { version: 2, against: 1, rule: stored, path: '', reason: nobody reads it }\n`
    const told = await command(two(later, { [`${climate}/type.yaml`]: accepted }), '--strict')
    expect(told.text).toMatch(/something else: first .*; accepted in type.yaml: nobody reads it/)
    expect(told.text).toMatch(/^fine:/m)
    expect(told.code).toBe(0)
  })

  test('the folder, and how formats are read, are those of the configuration', async () => {
    await bench.store([reading(0, 20, { data: { temperature: 20, site: 'nowhere' } })])
    const files = { [`${climate}/1.json`]: site(), [`${climate}/2.json`]: site({ format: 'uuid' }) }
    expect((await command(files)).code).toBe(1)
    const { text, code } = await command(files, 'as configured')
    expect(text).toMatch(/stored: nothing in the way: 0 of 1 events would fail/)
    expect(code).toBe(0)
  })

  test('with files that are at fault it says that what is stored was not looked at', async () => {
    const { text, code } = await command({ [`${climate}/1.json`]: { type: 'nothing' } })
    expect(text).toMatch(/^stored: not looked at: with files that are at fault/m)
    expect(code).toBe(1)
  })

  test('a reading of many pages ends when it is told to', async () => {
    await bench.store(Array.from({ length: 2500 }, (_, at) => reading(at % 7, 20)))
    const stop = new AbortController()
    const pages: number[] = []
    const judging = judge(two(upTo(150)), {
      signal: stop.signal,
      onProgress: ({ read }) => {
        if (read > 0) pages.push(read)
        if (read >= 1000) stop.abort(new Error('enough'))
      },
    })
    await expect(judging).rejects.toThrow('enough')
    expect(Math.max(...pages)).toBeLessThan(2000)
  })
})
