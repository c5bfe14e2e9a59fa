import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { rejectedType } from '../../../src/contract/event.ts'
import { trialStorage } from '../../../cloud/api/writes/trial-storage.ts'
import { postgresStorage } from '../../../cloud/database/storage-postgres.ts'
import type { Storage } from '../../../cloud/database/storage.ts'
import { schemaCheck } from '../../../cloud/reading/schema-check.ts'
import { audit, command as tidegate, databaseWith } from '../../support/cloud/audited-database.ts'
import { epoch, Ledger } from '../../support/cloud/cloud-events.ts'
import { registryOf } from '../../support/fakes/schemas.ts'
import { deedOf, type DeedsBench, openDeedsBench } from '../../support/cloud/deeds-bench.ts'

const until = <T>(check: () => Promise<T>): Promise<T> => vi.waitFor(check, { timeout: 20_000, interval: 50 })

/** A climate has a temperature that is a number. */
const schemas = registryOf({
  'com.acme.climate': {
    1: (data) =>
      typeof (data as { temperature?: unknown } | null)?.temperature === 'number'
        ? []
        : ['data.temperature: must be number'],
  },
})

let bench: DeedsBench
beforeEach(async () => {
  bench = await openDeedsBench({ schemas, checkSchema: schemaCheck(schemas, 'accept') })
})
afterEach(() => bench.close())

const dataschema = 'com.acme.climate/1'

/** One letter of `effects`, whose event was stored by history. */
async function oneLetter(more: object = {}): Promise<{ letter: number; id: string }> {
  await bench.startEffects()
  await bench.breakDevice('device-1')
  const event = new Ledger().next('device-1', { dataschema, ...more })
  await bench.publish([event])
  const [row] = await until(async () => {
    const rows = await bench.letterStates()
    expect(rows).toHaveLength(1)
    expect(await bench.rows(`select from tidegate.events where gateway = 'gateway-1'`)).toHaveLength(1)
    return rows
  })
  return { letter: row?.letter ?? 0, id: event.event.id }
}

async function replayed(letter: number): Promise<void> {
  const { replay } = await bench.deeds.replay(deedOf({ filter: { letter } }))
  await until(async () => expect((await bench.deeds.replayState(replay)).endedAt).toBeDefined())
}

describe('an edit', () => {
  test('corrects the data for the handler, which sees who did it; the text on record and in the letter stays (G8)', async () => {
    const { letter } = await oneLetter()
    const patch = [{ op: 'replace', path: '/temperature', value: 21.5 }] as const
    await bench.deeds.edit(deedOf({ letter, patch }))
    await bench.mendDevice('device-1')
    await replayed(letter)
    const [effect] = await bench.effects()
    expect(effect).toMatchObject({
      id: 'id-1',
      sequence: 1,
      data: { temperature: 21.5 },
      edited: { by: 'ada@example.com', patch, at: expect.stringMatching(/^20.*Z$/) as string },
    })
    const [stored] = await bench.rows<{ body: string }>(
      'select body::text as body from tidegate.events where sequence = 1',
    )
    expect(stored?.body).toContain('"temperature":20.1')
    const [kept] = await bench.rows<{ body: Buffer }>('select body from tidegate.dead_letters')
    expect(kept?.body.toString()).toBe(stored?.body)
    expect(await bench.rows('select outcome, edited from tidegate.resolutions')).toEqual([
      { outcome: 'resolved', edited: true },
    ])
  })

  test('of a letter that somebody else has changed meanwhile is refused, and so is one of a letter that is closed', async () => {
    const { letter } = await oneLetter()
    const edit = (value: unknown, ifMatch?: string): ReturnType<typeof bench.deeds.edit> =>
      bench.deeds.edit(
        deedOf({
          letter,
          patch: [{ op: 'replace', path: '/temperature', value }],
          ...(ifMatch !== undefined && { ifMatch }),
        }),
      )
    const first = await edit(1)
    const [one, other] = await Promise.allSettled([edit(2, first.version), edit(3, first.version)])
    expect([one.status, other.status].toSorted()).toEqual(['fulfilled', 'rejected'])
    const refused = one.status === 'rejected' ? one : other
    expect(refused).toMatchObject({ reason: { code: 'LETTER_CHANGED' } })
    await bench.deeds.discard(deedOf({ filter: { letter } }))
    await expect(edit(4)).rejects.toMatchObject({ code: 'LETTER_CLOSED' })
    await expect(bench.deeds.edit(deedOf({ letter: 99, patch: [] }))).rejects.toMatchObject({
      code: 'LETTER_UNKNOWN',
    })
  })

  test('must satisfy today’s schema, and what is refused leaves no trace and its key free', async () => {
    const { letter } = await oneLetter()
    const deed = deedOf({ letter, patch: [{ op: 'replace' as const, path: '/temperature', value: 'warm' }] })
    await expect(bench.deeds.edit(deed)).rejects.toMatchObject({ code: 'SCHEMA_VIOLATION' })
    expect(await bench.rows('select from tidegate.deeds')).toEqual([])
    const better = {
      ...deed,
      request: { letter, patch: [{ op: 'replace' as const, path: '/temperature', value: 3 }] },
    }
    await expect(bench.deeds.edit(better)).resolves.toMatchObject({ state: 'open' })
  })
})

describe('a discard', () => {
  test('closes letters with a reason, and a later copy of the event is a repeat (G4)', async () => {
    const { letter } = await oneLetter()
    const deed = deedOf({ filter: { letter } })
    const answers = await Promise.all([bench.deeds.discard(deed), bench.deeds.discard(deed)])
    expect(answers).toEqual(Array.from({ length: 2 }, () => ({ discarded: 1, total: 1, done: true })))
    await bench.mendDevice('device-1')
    const ledger = new Ledger()
    const again = ledger.next('device-1', { dataschema })
    const next = ledger.next('device-1', { dataschema })
    await bench.publish([again, next])
    await until(async () => expect((await bench.effects()).map(({ id }) => id)).toEqual(['id-2']))
    await expect(bench.deeds.discard(deedOf({ filter: { letter } }, { reason: ' ' }))).rejects.toMatchObject({
      code: 'DEED_INVALID',
    })
    expect((await bench.letterStates()).map(({ state }) => state)).toEqual(['discarded'])
  })

  test('of many is done in pieces, goes on under its key where a crash has left it, and leaves those that failed later (G4, G7, G8)', async () => {
    await bench.start({ consumers: ['history'] })
    await bench.rows(manyLettersSql, [1, 1203])
    const deed = deedOf({ filter: { group: 'effects' } })
    const states = async (): Promise<unknown> =>
      bench.rows('select state, count(*)::int as n from tidegate.dead_letters group by 1 order by 1')

    // The database is away after the second piece.
    const real = postgresStorage(bench.database)
    let transactions = 0
    const breaking: Storage = {
      ...real,
      transaction(work, signal) {
        transactions++
        return transactions > 2 ? Promise.reject(new Error('away')) : real.transaction(work, signal)
      },
    }
    const breakingDeeds = bench.deedsOn(breaking)
    expect(await breakingDeeds.discard(deed)).toEqual({ discarded: 1000, total: 1203, done: false })
    await expect(breakingDeeds.discard(deed)).rejects.toThrow('away')
    expect(await states()).toEqual([
      { state: 'discarded', n: 1000 },
      { state: 'open', n: 203 },
    ])
    await bench.rows(manyLettersSql, [1204, 1205])

    const answers = await Promise.all([bench.deeds.discard(deed), bench.deeds.discard(deed)])
    expect(answers).toEqual(Array.from({ length: 2 }, () => ({ discarded: 1203, total: 1203, done: true })))
    expect(await bench.deeds.discard(deed)).toEqual(answers[0])
    expect(await states()).toEqual([
      { state: 'discarded', n: 1203 },
      { state: 'open', n: 2 },
    ])
    expect(await bench.rows('select count(*)::int as n from tidegate.resolutions')).toEqual([{ n: 1203 }])
    expect(
      await bench.rows(
        `select count(*)::int as n from tidegate.inbox_claims as c join tidegate.inbox_groups as g on number = c.consumer_group where name = 'effects'`,
      ),
    ).toEqual([{ n: 1203 }])
    // Each of its pieces.
    expect(
      await bench.rows(
        `select body->'data'->'outcome'->>'discarded' as n, body->'data'->'outcome'->>'done' as done
         from tidegate.events where type = 'dev.tidegate.deed' order by sequence`,
      ),
    ).toEqual([
      { n: '500', done: 'false' },
      { n: '1000', done: 'false' },
      { n: '1203', done: 'true' },
    ])
  })

  test('that is given up for a rival which holds what it waits for is done all the same (G4)', async () => {
    await bench.start({ consumers: ['history'] })
    await bench.rows(manyLettersSql, [1, 3])
    const waiting = async (): Promise<void> =>
      expect(
        await bench.rows(
          `select from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()`,
        ),
      ).toHaveLength(1)
    const lock = 'select from tidegate.dead_letters where letter = $1 for update'
    const { signal } = new AbortController()
    const deed = deedOf({ filter: { group: 'effects' } })
    const discarded = await postgresStorage(bench.database).transaction(async (tx) => {
      await tx.query(lock, [3])
      const discarding = bench.deeds.discard(deed)
      discarding.catch(() => undefined)
      await until(waiting)
      // Whoever has waited for longer is given up.
      await tx.query(lock, [1])
      return { discarding }
    }, signal)
    expect(await discarded.discarding).toEqual({ discarded: 3, total: 3, done: true })
  })

  test('of a cloud of before, on record without whether it was done, was done', async () => {
    await bench.start({ consumers: ['history'] })
    await bench.rows(manyLettersSql, [1, 2])
    const deed = deedOf({ filter: { group: 'effects' } })
    await bench.deeds.discard(deed)
    await bench.rows(`update tidegate.deeds set outcome = '{"discarded": 2}' where deed = $1`, [deed.key])
    expect(await bench.deeds.discard(deed)).toEqual({ discarded: 2, done: true })
    expect(await bench.rows('select outcome::text as outcome from tidegate.deeds')).toEqual([
      { outcome: '{"discarded": 2}' },
    ])
    expect(await bench.rows(`select from tidegate.events where type = 'dev.tidegate.deed'`)).toHaveLength(1)
  })

  test('of more than is worth counting begins without a count (G7)', async () => {
    await bench.start({ consumers: ['history'] })
    await bench.rows(manyLettersSql, [1, 100_001])
    const trying = bench.deedsOn(trialStorage(postgresStorage(bench.database)), true)
    expect(await trying.discard(deedOf({ filter: { group: 'effects' } }))).toEqual({
      discarded: 100_000,
      done: true,
    })
  })

  test('that is tried says how many it would be, and leaves nothing', async () => {
    await bench.start({ consumers: ['history'] })
    await bench.rows(manyLettersSql, [1, 620])
    const trying = bench.deedsOn(trialStorage(postgresStorage(bench.database)), true)
    expect(await trying.discard(deedOf({ filter: { group: 'effects' } }))).toEqual({
      discarded: 620,
      total: 620,
      done: true,
    })
    expect(await bench.rows(`select from tidegate.dead_letters where state <> 'open'`)).toEqual([])
    expect(await bench.rows('select from tidegate.deeds')).toEqual([])
  })
})

/** Letters of events that were believed. */
const manyLettersSql = `
insert into tidegate.dead_letters (consumer_group, key, source, id, body, properties, headers, routing_key, queue, fingerprint, code, message,
  attempts, failures, instance, first_failed_at, last_failed_at)
select 'effects', sha256(convert_to(e'event\\n/devices/d\\nid-' || n, 'UTF8')), '/devices/d', 'id-' || n, '{}', '{}', '{}', 'r', 'q', 'f', 'SITE_UNKNOWN',
  'no site', 1, '[]', 'cloud-a', now(), now()
from generate_series($1::int, $2::int) as n`

/** A reading of a device that the edge has rejected, stored by history. */
async function rejected(
  payload: object,
  more: object = {},
): Promise<{ gateway: string; epoch: string; sequence: number }> {
  await bench.startEffects()
  const data = {
    reason: 'SCHEMA_UNKNOWN',
    detail: 'no schema',
    topic: 'devices/device-1/climate',
    type: 'com.acme.climate',
    payloadBytes: 10,
    payload: Buffer.from(JSON.stringify(payload)).toString('base64'),
    truncated: false,
    ...more,
  }
  await bench.publish([new Ledger().next('device-1', { id: 'rejected-1', type: rejectedType, data })])
  await until(async () =>
    expect(await bench.rows(`select from tidegate.events where disposition = 'rejected'`)).toHaveLength(1),
  )
  return { gateway: 'gateway-1', epoch, sequence: 1 }
}

describe('an admission', () => {
  test('makes an event of a rejected reading once, which all groups get and history has as the cloud’s own (G2, G8, G9)', async () => {
    const place = await rejected({
      specversion: '1.0',
      id: 'reading-7',
      time: '2026-01-01T00:00:00Z',
      data: { temperature: 4 },
    })
    const deeds = [deedOf(place), deedOf(place)]
    const [one, other] = await Promise.all(deeds.map((deed) => bench.deeds.admit(deed)))
    expect(one).toEqual(other)
    expect(one).toMatchObject({
      gateway: 'tidegate-cloud',
      source: '/devices/device-1',
      id: 'reading-7',
      type: 'com.acme.climate',
    })
    await until(async () => expect(await bench.effects()).toHaveLength(1))
    expect((await bench.effects())[0]).toMatchObject({
      device: 'device-1',
      id: 'reading-7',
      data: { temperature: 4 },
    })
    await until(async () => expect(await bench.rows('select from tidegate.unpublished')).toEqual([]))
    const [stored] = await bench.rows<{ time: Date; dataschema: string }>(
      `select time, dataschema from tidegate.events where id = 'reading-7'`,
    )
    expect(stored).toMatchObject({ time: new Date('2026-01-01T00:00:00Z'), dataschema })
    const [disposition] = await bench.rows(
      `select recorded, disposition, admitted_sequence::int as at from tidegate.dispositions where id = 'rejected-1'`,
    )
    expect(disposition).toMatchObject({ recorded: 'rejected', disposition: 'admitted' })
    expect((await audit(bench.databaseUrl)).map(({ gateway, ok }) => [gateway, ok])).toContainEqual([
      'tidegate-cloud',
      true,
    ])
  })

  test('of what still breaks the schema, was cut, or is there already, is refused', async () => {
    const place = await rejected({ temperature: 'warm' })
    await expect(bench.deeds.admit(deedOf(place))).rejects.toMatchObject({ code: 'SCHEMA_VIOLATION' })
    await expect(bench.deeds.admit(deedOf({ ...place, sequence: 9 }))).rejects.toMatchObject({
      code: 'READING_UNKNOWN',
    })
    expect(await bench.rows(`select from tidegate.events where gateway = 'tidegate-cloud'`)).toEqual([])
  })

  test('of a reading that its device has sent again since, well, is refused (G4)', async () => {
    const place = await rejected({ temperature: 5 }, { id: 'reading-7' })
    await bench.publish([new Ledger('gateway-2').next('device-1', { id: 'reading-7' })])
    await until(async () => expect(await bench.effects()).toHaveLength(1))
    await until(async () =>
      expect(await bench.rows(`select from tidegate.events where id = 'reading-7'`)).toHaveLength(1),
    )
    await expect(bench.deeds.admit(deedOf(place))).rejects.toMatchObject({ code: 'IDENTITY_TAKEN' })
    expect(await bench.rows('select from tidegate.admissions')).toEqual([])
  })
})

describe('the cloud’s own ledger', () => {
  test('has every deed, with who and why, in a sequence without gaps, however many are done at once (G2, G8)', async () => {
    const { letter } = await oneLetter()
    const patch = [{ op: 'replace' as const, path: '/temperature', value: 1 }]
    const done = await Promise.all([
      ...Array.from({ length: 8 }, () => bench.deeds.replay(deedOf({ filter: { group: 'other' } }))),
      bench.deeds.edit(deedOf({ letter, patch })),
      bench.deeds
        .edit(deedOf({ letter, patch: [{ op: 'remove', path: '/gone' }] }))
        .catch((error: unknown) => error),
    ])
    expect(done.at(-1)).toMatchObject({ code: 'EDIT_REFUSED' })
    const rows = await bench.rows<{
      sequence: number
      data: { verb: string; actor: string; reason: string }
    }>(
      `select sequence::int as sequence, body -> 'data' as data from tidegate.events where gateway = 'tidegate-cloud' order by sequence`,
    )
    expect(rows.map(({ sequence }) => sequence)).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9])
    expect(rows.filter(({ data }) => data.verb === 'edit')).toHaveLength(1)
    expect(rows[0]?.data).toMatchObject({ actor: 'ada@example.com', reason: 'sites were added' })
    expect(await bench.rows('select from tidegate.deeds')).toHaveLength(9)
    const report = (await audit(bench.databaseUrl)).find(({ gateway }) => gateway === 'tidegate-cloud')
    expect(report).toMatchObject({ ok: true, lastSequence: 9, chain: 'intact' })
  })

  test('says of a loss that it was accepted, by whom and why: the audit raises no alarm for that, and for no other (G8)', async () => {
    await bench.startEffects()
    const ledger = new Ledger()
    const events = Array.from({ length: 12 }, () => ledger.next('device-1'))
    await bench.publish(events.filter(({ event }) => ![4, 5, 9].includes(event.sequence)))
    await until(async () =>
      expect(await bench.rows(`select from tidegate.events where gateway = 'gateway-1'`)).toHaveLength(9),
    )
    const lost = { gateway: 'gateway-1', epoch }
    const accept = (from: number, to: number): Promise<unknown> =>
      bench.deeds.accept(
        deedOf({ ...lost, ranges: [{ from, to }], settleMs: 0 }, { reason: 'the disk burnt' }),
      )
    await expect(accept(4, 6)).rejects.toMatchObject({ code: 'ACCEPTANCE_REFUSED', message: /6 is there/ })
    await expect(accept(9, 20)).rejects.toMatchObject({ code: 'ACCEPTANCE_REFUSED' })
    const reportOf = async (): Promise<unknown> =>
      (await audit(bench.databaseUrl)).find(({ gateway }) => gateway === 'gateway-1')
    expect(await reportOf()).toMatchObject({ ok: false, gaps: { count: 3 } })
    await accept(4, 5)
    expect(await reportOf()).toMatchObject({
      ok: false,
      gaps: { ranges: [[9, 9]] },
      accepted: { ranges: [[4, 5]] },
    })
    await accept(9, 9)
    // Made up by whoever may write the table: of what was not known to be missing then.
    await bench.rows(
      `insert into tidegate.events (gateway, epoch, sequence, source, id, type, time, recorded_time, disposition, body)
       select gateway, epoch, 100, source, 'made-up', type, time, recorded_time, disposition,
         replace(replace(body::text, '[{"from":9,"to":9}]', '[{"from":1,"to":1000}]'), '"sequence":' || sequence, '"sequence":100')::json
       from tidegate.events where gateway = 'tidegate-cloud' and body -> 'data' -> 'ranges' -> 0 ->> 'from' = '9'
         and type = 'dev.tidegate.acceptance'`,
    )
    for (let skipped = 0; skipped < 2; skipped++) ledger.next('device-1')
    await bench.publish([ledger.next('device-1')])
    await until(async () => expect(await reportOf()).toMatchObject({ gaps: { ranges: [[13, 14]] } }))
    await accept(13, 14)
    expect(await reportOf()).toMatchObject({
      ok: true,
      gaps: { count: 0 },
      acceptances: [
        { from: 4, to: 5, by: 'ada@example.com', reason: 'the disk burnt' },
        { from: 9, to: 9, by: 'ada@example.com', reason: 'the disk burnt' },
        { from: 13, to: 14, by: 'ada@example.com', reason: 'the disk burnt' },
      ],
    })
  })

  test('of what a dead letter of history still holds is refused, however old; and so is what one that was not believed says that it holds, but for who disbelieves it (G5, G8, G9)', async () => {
    await bench.startEffects()
    const ledger = new Ledger()
    const events = Array.from({ length: 4 }, () => ledger.next('device-1'))
    await bench.publish(events.filter(({ event }) => event.sequence !== 2))
    await until(async () =>
      expect(await bench.rows(`select from tidegate.events where gateway = 'gateway-1'`)).toHaveLength(3),
    )
    await bench.rows(manyLettersSql, [1, 2])
    // The first is known by its event, the second only by its bytes.
    await bench.rows(
      `update tidegate.dead_letters set consumer_group = 'history', gateway = 'gateway-1', epoch = $1, sequence = 2,
         key = case letter when 1 then key else '\\x00' end`,
      [epoch],
    )
    const request = { gateway: 'gateway-1', epoch, ranges: [{ from: 2, to: 2 }], settleMs: 0 }
    await expect(bench.deeds.accept(deedOf(request))).rejects.toMatchObject({
      code: 'ACCEPTANCE_REFUSED',
      message: 'these may still come: letter 1 of history holds 2',
    })
    await expect(bench.deeds.accept(deedOf({ ...request, disbelieve: true }))).rejects.toMatchObject({
      message: 'these may still come: letter 1 of history holds 2',
    })
    await bench.deeds.discard(deedOf({ filter: { letter: 1 } }))
    await expect(bench.deeds.accept(deedOf(request))).rejects.toMatchObject({
      code: 'ACCEPTANCE_REFUSED',
      message: 'these may still come: letter 2 of history says that it is 2, and was not believed',
      hint: expect.stringContaining('--disbelieve') as string,
    })
    await bench.deeds.accept(deedOf({ ...request, disbelieve: true }))
  })

  test('takes an accepted loss from the command line, and says whose it is (G8)', async () => {
    const ledger = new Ledger()
    const events = Array.from({ length: 6 }, () => ledger.next('device-1'))
    const url = await databaseWith(events.filter(({ event }) => event.sequence !== 3))
    const name = `gateway-1/${epoch}`
    const accept = (...more: string[]): ReturnType<typeof tidegate> =>
      tidegate('audit', 'accept', name, ...more, '--database', url)
    expect(await accept('3')).toMatchObject({
      code: 2,
      stderr: expect.stringContaining('--reason') as string,
    })
    expect(await accept('3-4', '--reason', 'burnt')).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('ACCEPTANCE_REFUSED') as string,
    })
    // History has just learned of 4: 3 may be on a rung of its ladder.
    expect(await accept('3', '--reason', 'the disk burnt')).toMatchObject({
      code: 1,
      stderr: expect.stringContaining(
        'these may still come: 3–3 is known to be missing for less than 600 s',
      ) as string,
    })
    expect(await accept('3', '--reason', 'the disk burnt', '--settle', '0s')).toMatchObject({
      code: 0,
      stdout: expect.stringContaining('No gateway signs it') as string,
    })
    const said = await tidegate('audit', '--database', url)
    expect(said).toMatchObject({ code: 0 })
    expect(said.stdout).toMatch(
      /accepted +1: 3\n +3 accepted \(unsigned\) by local:\S+, 20\S+Z: the disk burnt/,
    )
    expect(said.stdout).toContain('1 accepted as lost')
  })
})
