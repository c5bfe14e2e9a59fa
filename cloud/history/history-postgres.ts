import type { Appended, History, HistoryRecord, LedgerNote, LedgerPlace } from './history.ts'
import { saysTheSame } from './record.ts'
import { bigintArray, doubleArray, textArray } from '../database/arrays-postgres.ts'
import { isTaken } from '../database/faults-postgres.ts'
import type { Statements } from '../database/statements.ts'

/**
 * By the index on both: with two equalities PostgreSQL might take the one on source and time, of a week that it knows little of yet, and
 * read all of a device.
 */
const sameIdentity =
  'e.id = s.id and (e.id, e.source) >= (s.id, s.source) and (e.id, e.source) <= (s.id, s.source)'

const within = (from: string, until: string): string =>
  `not exists (select from tidegate.events as e where ${sameIdentity} and e.recorded_time >= ${from} and e.recorded_time < ${until})`

// An identity is unique in its week by an index; in the weeks around it, which PostgreSQL chooses row by row, it is looked for. Sorted by
// place, so that rival transactions lock in one order.
const appendSql = `
insert into tidegate.events
  (era, gateway, epoch, sequence, source, id, type, subject, dataschema, time, recorded_time, disposition, reason, body)
select (select tidegate.current_era()), gateway, epoch, sequence, source, id, type, subject, dataschema, time, recorded_time,
       disposition, reason, body
from (
  select gateway, epoch, sequence, source, id, type, subject, dataschema, to_timestamp(time_ms / 1000) as time,
         to_timestamp(recorded_ms / 1000) as recorded_time, disposition, reason, body::json as body,
         date_trunc('week', to_timestamp(recorded_ms / 1000), 'UTC') as week
  from unnest($1::text[], $2::text[], $3::bigint[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[],
              $9::float8[], $10::float8[], $11::text[], $12::text[], $13::text[])
    as u (gateway, epoch, sequence, source, id, type, subject, dataschema, time_ms, recorded_ms, disposition, reason, body)
  offset 0) as s
where ${within('s.recorded_time - $14::interval', 's.week')}
  and ${within("s.week + interval '7 days'", 's.recorded_time + $14::interval')}
order by gateway collate "C", epoch collate "C", sequence`

const appendNewSql = `with new as (${appendSql} returning 1) select count(*)::int from new`

// A conflict on either key is a row not returned.
const appendFreshSql = `${appendSql}
on conflict do nothing
returning gateway, epoch, sequence, source, id`

// Of all weeks: what a partition of before refuses may have been recorded at any time. Only repeats are asked for.
const identitiesSql = `
from unnest($1::text[], $2::text[]) as s (source, id) join tidegate.events as e on ${sameIdentity}`

const findSql = `select e.gateway, e.epoch, e.sequence, e.source, e.id ${identitiesSql}`

const readSql = `select distinct on (e.source, e.id) e.source, e.id, e.body::text ${identitiesSql} order by e.source, e.id, e.position`

const retiredSql = `
select gateway, epoch, sequence from unnest($1::text[], $2::text[], $3::bigint[]) as s (gateway, epoch, sequence)
where tidegate.is_retired(gateway, epoch, sequence)`

const noteSql = `
insert into tidegate.ledger_notes
  (gateway, epoch, from_sequence, to_sequence, reason, chain, event_epoch, event_sequence, body)
select gateway, epoch, from_sequence, to_sequence, reason, chain, event_epoch, event_sequence, body::json
from unnest($1::text[], $2::text[], $3::bigint[], $4::bigint[], $5::text[], $6::text[], $7::text[], $8::bigint[],
            $9::text[])
  as s (gateway, epoch, from_sequence, to_sequence, reason, chain, event_epoch, event_sequence, body)
on conflict do nothing`

const correctSql = `
insert into tidegate.clock_corrections (gateway, epoch, from_sequence, to_sequence, offset_ms, event_sequence)
select * from unnest($1::text[], $2::text[], $3::bigint[], $4::bigint[], $5::float8[], $6::bigint[])
on conflict do nothing`

const closeSql = `
insert into tidegate.epoch_closures (gateway, epoch, last_sequence, reason, event_sequence)
select * from unnest($1::text[], $2::text[], $3::bigint[], $4::text[], $5::bigint[])
on conflict do nothing`

/**
 * From so many records on it pays to take all of them for new at first: PostgreSQL asks every index beforehand whether a row is there
 * when a conflict is to do nothing, which is a fifth of what storing it costs. Repeats are few, and cost those they come with.
 */
const takenForNewMin = 16

/** Each may be a third of a megabyte (G7). */
const readTogetherMax = 16

type PlaceRow = [gateway: string, epoch: string, sequence: string, source: string, id: string]

/** Longer than a device or an edge is likely to be put back to a former state, and short enough that a few weeks are asked. */
export const dedupWindowMs = 14 * 24 * 3_600_000

export interface HistoryOptions {
  /** An identity that was recorded within this long, either way, is found whichever week it is in (G4). */
  dedupWindowMs: number
}

export function postgresHistory(
  statements: Statements,
  { dedupWindowMs: windowMs }: HistoryOptions = { dedupWindowMs },
): History {
  const window = `${Math.ceil(windowMs / 1000)} seconds`
  return {
    append: (records) => appendApart(statements, records, window),
    async note(notes) {
      if (notes.length > 0) await statements.run('history-note', noteSql, noteColumns(notes))
    },
    async correctClock(corrections) {
      if (corrections.length === 0) return
      await statements.run('history-correct-clock', correctSql, [
        corrections.map((correction) => correction.gateway),
        corrections.map((correction) => correction.epoch),
        corrections.map((correction) => correction.from),
        corrections.map((correction) => correction.to),
        corrections.map((correction) => correction.offsetMs),
        corrections.map((correction) => correction.eventSequence),
      ])
    },
    async closeEpochs(closures) {
      if (closures.length === 0) return
      await statements.run('history-close-epochs', closeSql, [
        closures.map((closure) => closure.gateway),
        closures.map((closure) => closure.epoch),
        closures.map((closure) => closure.lastSequence),
        closures.map((closure) => closure.reason),
        closures.map((closure) => closure.eventSequence),
      ])
    },
  }
}

/** Of two records with one identity, or one place, the second is told what it is by the first, which may be in another partition. */
async function appendApart(
  statements: Statements,
  records: readonly HistoryRecord[],
  window: string,
): Promise<Appended[]> {
  const appended: Appended[] = []
  let together: HistoryRecord[] = []
  let taken = new Set<string>()
  for (const record of records) {
    const keys = [placeKey(record), identityKey(record)]
    if (keys.some((key) => taken.has(key))) {
      appended.push(...(await append(statements, together, window)))
      together = []
      taken = new Set()
    }
    together.push(record)
    for (const key of keys) taken.add(key)
  }
  appended.push(...(await append(statements, together, window)))
  return appended
}

async function append(
  statements: Statements,
  records: readonly HistoryRecord[],
  window: string,
): Promise<Appended[]> {
  if (records.length === 0) return []
  const values = [...columns(records), window]
  if (records.length >= takenForNewMin && (await appendNew(statements, values, records.length)))
    return records.map(() => 'stored')
  const rows = await statements.run<PlaceRow>('history-append-fresh', appendFreshSql, values)
  const appended = new Set(rows.map((row) => row.join('\n')))
  if (appended.size === records.length) return records.map(() => 'stored')
  const fresh = records.map((record) => appended.delete(placeAndIdentity(record)))
  const taken = records.filter((_, index) => !fresh[index])
  const places = await findPlaces(statements, taken)
  const placesOf = (record: HistoryRecord): ReadonlySet<string> | undefined => places.get(identityKey(record))
  const isThere = (record: HistoryRecord): boolean => placesOf(record)?.has(placeKey(record)) === true
  const elsewhere = taken.filter((record) => !isThere(record))
  const retired = await findRetired(statements, elsewhere)
  const isAgain = (record: HistoryRecord): boolean => isThere(record) || retired.has(placeKey(record))
  const moved = elsewhere.filter((record) => placesOf(record) !== undefined && !isAgain(record))
  const rivals = await findRivals(statements, moved)
  return records.map((record, index): Appended => {
    if (fresh[index]) return 'stored'
    if (isAgain(record)) return 'again'
    if (placesOf(record) === undefined) return 'place-taken'
    return rivals.has(record) ? 'rival' : 'repeat'
  })
}

/** Those that say something else than what is stored under their identity. */
async function findRivals(
  statements: Statements,
  records: readonly HistoryRecord[],
): Promise<Set<HistoryRecord>> {
  const rivals = new Set<HistoryRecord>()
  for (let at = 0; at < records.length; at += readTogetherMax) {
    const some = records.slice(at, at + readTogetherMax)
    const rows = await statements.run<[source: string, id: string, body: string]>(
      'history-read',
      readSql,
      identities(some),
    )
    const bodies = new Map(rows.map(([source, id, body]) => [identityKey({ source, id }), body]))
    for (const record of some)
      if (!saysTheSame(bodies.get(identityKey(record)) ?? '', record.body)) rivals.add(record)
  }
  return rivals
}

/** Those whose places are in an archive, and whose partition is gone: they were stored, once. */
async function findRetired(statements: Statements, records: readonly HistoryRecord[]): Promise<Set<string>> {
  if (records.length === 0) return new Set()
  const rows = await statements.run<[gateway: string, epoch: string, sequence: string]>(
    'history-retired',
    retiredSql,
    [
      textArray(records, (record) => record.gateway),
      textArray(records, (record) => record.epoch),
      bigintArray(records, (record) => record.sequence),
    ],
  )
  return new Set(
    rows.map(([gateway, epoch, sequence]) => placeKey({ gateway, epoch, sequence: Number(sequence) })),
  )
}

/** All of them, or none and the transaction is as it was: false if a place or an identity is taken. */
async function appendNew(
  statements: Statements,
  values: readonly unknown[],
  count: number,
): Promise<boolean> {
  await statements.run('history-savepoint', 'savepoint history_append', [])
  try {
    const [[stored] = []] = await statements.run<[number]>('history-append', appendNewSql, values)
    if (stored === count) return true
  } catch (error) {
    if (!isTaken(error)) throw error
  }
  await statements.run('history-back', 'rollback to savepoint history_append', [])
  return false
}

async function findPlaces(
  statements: Statements,
  records: readonly HistoryRecord[],
): Promise<Map<string, Set<string>>> {
  const rows = await statements.run<PlaceRow>('history-find', findSql, identities(records))
  const places = new Map<string, Set<string>>()
  for (const [gateway, epoch, sequence, source, id] of rows) {
    const identity = identityKey({ source, id })
    const known = places.get(identity) ?? new Set()
    places.set(identity, known.add(placeKey({ gateway, epoch, sequence: Number(sequence) })))
  }
  return places
}

function identities(records: readonly HistoryRecord[]): unknown[] {
  return [textArray(records, (record) => record.source), textArray(records, (record) => record.id)]
}

function columns(records: readonly HistoryRecord[]): Buffer[] {
  return [
    textArray(records, (record) => record.gateway),
    textArray(records, (record) => record.epoch),
    bigintArray(records, (record) => record.sequence),
    textArray(records, (record) => record.source),
    textArray(records, (record) => record.id),
    textArray(records, (record) => record.type),
    textArray(records, (record) => record.subject),
    textArray(records, (record) => record.dataschema),
    doubleArray(records, (record) => record.timeMs),
    doubleArray(records, (record) => record.recordedMs),
    textArray(records, (record) => record.disposition),
    textArray(records, (record) => record.reason),
    textArray(records, (record) => record.body),
  ]
}

function noteColumns(notes: readonly LedgerNote[]): unknown[] {
  return [
    notes.map((note) => note.gateway),
    notes.map((note) => note.epoch),
    notes.map((note) => note.from),
    notes.map((note) => note.to),
    notes.map((note) => note.reason),
    notes.map((note) => note.chain),
    notes.map((note) => note.eventEpoch),
    notes.map((note) => note.eventSequence),
    notes.map((note) => note.body),
  ]
}

function placeKey(place: LedgerPlace): string {
  return `${place.gateway}\n${place.epoch}\n${place.sequence}`
}

function identityKey({ source, id }: Pick<HistoryRecord, 'source' | 'id'>): string {
  return `${source}\n${id}`
}

function placeAndIdentity(record: HistoryRecord): string {
  return `${placeKey(record)}\n${record.source}\n${record.id}`
}
