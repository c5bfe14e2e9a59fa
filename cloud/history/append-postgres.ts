import type { Appended, HistoryRecord, LedgerPlace } from './history.ts'
import { saysTheSame } from './record.ts'
import { bigintArray, doubleArray, textArray } from '../database/arrays-postgres.ts'
import { findRetired, isBehindRetired, isNotRetired } from './retired-postgres.ts'
import { isTaken } from '../database/faults-postgres.ts'
import type { Statements } from '../database/statements.ts'

const sameIdentity = 'e.id = s.id and e.source = s.source'
const samePlace = 'e.gateway = s.gateway and e.epoch = s.epoch and e.sequence = s.sequence'

const week = "interval '168 hours'"

/** Bounds of the whole call, by which PostgreSQL leaves the other weeks out before it has planned or locked them. */
const around = 'e.recorded_time >= to_timestamp($15::float8) and e.recorded_time <= to_timestamp($16::float8)'

/**
 * In the weeks around its own, where an index says it: PostgreSQL chooses them row by row. `offset 0` keeps it from joining all at once:
 * a plan that it made while a week was empty would go on reading the whole of it for each batch.
 */
const isNowhereElse = (same: string): string => `
  not exists (select from tidegate.events as e where ${same} and ${around}
    and e.recorded_time >= s.recorded_time - $14::interval and e.recorded_time < s.week offset 0)
  and not exists (select from tidegate.events as e where ${same} and ${around}
    and e.recorded_time >= s.week + ${week} and e.recorded_time <= s.recorded_time + $14::interval offset 0)`

// Sorted by place, so that rival transactions lock in one order.
const appendSql = (isNew: string): string => `
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
where ${isNew}
order by gateway collate "C", epoch collate "C", sequence`

// An outbox that was put back numbers anew: the first of each ledger shows it, and then all are asked for one by one.
const firstPlacesAreFree = `not exists (
  select from unnest($17::text[], $18::text[], $19::bigint[]) as s (gateway, epoch, sequence)
  where exists (select from tidegate.events as e where ${samePlace} and ${around} offset 0)
     or ${isBehindRetired})`

const appendNewSql = `
with new as (${appendSql(`${firstPlacesAreFree} and ${isNowhereElse(sameIdentity)}`)} returning 1)
select count(*)::int from new`

// A conflict on either key is a row not returned.
const appendFreshSql = `${appendSql(`${isNowhereElse(sameIdentity)} and ${isNowhereElse(samePlace)} and ${isNotRetired}`)}
on conflict do nothing
returning gateway, epoch, sequence, source, id`

const copiesSql = (columns: string, when = 'true'): string => `
select ${columns} from unnest($1::text[], $2::text[]) as s (source, id)
cross join lateral (select * from tidegate.events as e where ${sameIdentity} and ${when} offset 0) as e`

const placesOf = 'e.gateway, e.epoch, e.sequence, e.source, e.id'
const findAroundSql = copiesSql(
  placesOf,
  'e.recorded_time >= to_timestamp($3::float8) and e.recorded_time <= to_timestamp($4::float8)',
)
// What a partition of before refuses may have been recorded at any time.
const findSql = copiesSql(placesOf)

const readSql = copiesSql('e.source, e.id, e.body::text')

/**
 * From so many records on it pays to take all of them for new at first: PostgreSQL asks every index beforehand whether a row is there
 * when a conflict is to do nothing, which is a fifth of what storing it costs. Repeats are few, and cost those they come with.
 */
const takenForNewMin = 16

/** Each may be a third of a megabyte (G7). */
const readTogetherMax = 16

type PlaceRow = [gateway: string, epoch: string, sequence: string, source: string, id: string]

const weekMs = 7 * 24 * 3_600_000

/** Within how long, either way, two copies of one identity are one. */
export interface Window {
  ms: number
  /** The same, in PostgreSQL's words. */
  interval: string
}

/**
 * The first of each identity and of each place, together; then what the others are is known from what is stored, however many there
 * are: one that repeats itself costs nobody much (G7).
 */
export async function append(
  statements: Statements,
  records: readonly HistoryRecord[],
  window: Window,
): Promise<Appended[]> {
  const taken = new Set<string>()
  const isFirst = records.map((record) => {
    const keys = [placeKey(record), identityKey(record)]
    const free = keys.every((key) => !taken.has(key))
    if (free) for (const key of keys) taken.add(key)
    return free
  })
  const firsts = records.filter((_, index) => isFirst[index])
  const stored = await store(statements, firsts, window)
  if (stored.size === records.length) return records.map(() => 'stored')
  const rest = records.filter((record) => !stored.has(record))
  const found = await classify(statements, rest, window)
  const answers = new Map<HistoryRecord, Appended>(found)
  for (const record of stored) answers.set(record, 'stored')
  const places = new Set(
    firsts
      .filter((record) => answers.get(record) !== 'repeat' && answers.get(record) !== 'rival')
      .map(placeKey),
  )
  // Another of a place whose first was a repeat: the place is free after all.
  const again = rest.filter((record) => !answers.has(record) && !places.has(placeKey(record)))
  if (again.length > 0) {
    const more = await append(statements, again, window)
    again.forEach((record, index) => answers.set(record, more[index] as Appended))
  }
  return records.map((record) => answers.get(record) ?? 'place-taken')
}

/** Answers those that were not there. Each has an identity and a place of its own. */
async function store(
  statements: Statements,
  records: readonly HistoryRecord[],
  window: Window,
): Promise<Set<HistoryRecord>> {
  if (records.length === 0) return new Set()
  const values = [...columns(records), window.interval, ...boundsOf(records, window)]
  if (records.length >= takenForNewMin && (await appendNew(statements, records, values)))
    return new Set(records)
  const rows = await statements.run<PlaceRow>('history-append-fresh', appendFreshSql, values)
  const appended = new Set(rows.map((row) => row.join('\n')))
  return new Set(records.filter((record) => appended.has(placeAndIdentity(record))))
}

/** What those are that could not be stored, as far as their identity is there, or their place is in an archive. */
async function classify(
  statements: Statements,
  records: readonly HistoryRecord[],
  window: Window,
): Promise<[HistoryRecord, Appended][]> {
  const places = await findPlaces(statements, records, window)
  const isThere = (record: HistoryRecord): boolean =>
    places.get(identityKey(record))?.has(placeKey(record)) === true
  const elsewhere = records.filter((record) => !isThere(record))
  const retired = await findRetired(statements, elsewhere)
  const isAgain = (record: HistoryRecord): boolean => isThere(record) || retired.has(record)
  const known = records.filter((record) => places.has(identityKey(record)) || isAgain(record))
  const rivals = await findRivals(
    statements,
    known.filter((record) => !isAgain(record)),
  )
  return known.map((record) => [record, isAgain(record) ? 'again' : rivals.has(record) ? 'rival' : 'repeat'])
}

/** Those that say something else than all that is stored under their identity. */
async function findRivals(
  statements: Statements,
  records: readonly HistoryRecord[],
): Promise<Set<HistoryRecord>> {
  const rivals = new Set<HistoryRecord>()
  const byIdentity = new Map<string, HistoryRecord[]>()
  for (const record of records) {
    const key = identityKey(record)
    const alike = byIdentity.get(key)
    if (alike) alike.push(record)
    else byIdentity.set(key, [record])
  }
  const identified = [...byIdentity.values()]
  for (let at = 0; at < identified.length; at += readTogetherMax) {
    const some = identified.slice(at, at + readTogetherMax)
    const rows = await statements.run<[source: string, id: string, body: string]>(
      'history-read',
      readSql,
      identities(some.flatMap(([first]) => first ?? [])),
    )
    for (const record of some.flat()) {
      const bodies = rows.filter(([source, id]) => source === record.source && id === record.id)
      if (!bodies.some(([, , body]) => saysTheSame(body, record.body))) rivals.add(record)
    }
  }
  return rivals
}

/** All of them, or none and the transaction is as it was: false if a place or an identity is taken. */
async function appendNew(
  statements: Statements,
  records: readonly HistoryRecord[],
  values: readonly unknown[],
): Promise<boolean> {
  await statements.run('history-savepoint', 'savepoint history_append', [])
  try {
    const [[stored] = []] = await statements.run<[number]>('history-append', appendNewSql, [
      ...values,
      ...firstPlaces(records),
    ])
    if (stored === records.length) return true
  } catch (error) {
    if (!isTaken(error)) throw error
  }
  await statements.run('history-back', 'rollback to savepoint history_append', [])
  return false
}

/** Of each identity that is stored, all its places. */
async function findPlaces(
  statements: Statements,
  records: readonly HistoryRecord[],
  window: Window,
): Promise<Map<string, Set<string>>> {
  const places = new Map<string, Set<string>>()
  const enter = (rows: readonly PlaceRow[]): void => {
    for (const [gateway, epoch, sequence, source, id] of rows) {
      const identity = identityKey({ source, id })
      const known = places.get(identity) ?? new Set()
      places.set(identity, known.add(placeKey({ gateway, epoch, sequence: Number(sequence) })))
    }
  }
  const near = [...identities(records), ...boundsOf(records, window)]
  enter(await statements.run<PlaceRow>('history-find-around', findAroundSql, near))
  const others = records.filter((record) => !places.has(identityKey(record)))
  if (others.length > 0) enter(await statements.run<PlaceRow>('history-find', findSql, identities(others)))
  return places
}

function identities(records: readonly HistoryRecord[]): Buffer[] {
  return [textArray(records, (record) => record.source), textArray(records, (record) => record.id)]
}

/** Within which all lies that may be found in the weeks around these records, or in their own. */
function boundsOf(
  records: readonly HistoryRecord[],
  { ms }: Window,
): [fromSeconds: number, untilSeconds: number] {
  let least = Infinity
  let most = -Infinity
  for (const { recordedMs } of records) {
    least = Math.min(least, recordedMs)
    most = Math.max(most, recordedMs)
  }
  const reachMs = Math.max(ms, weekMs)
  return [(least - reachMs) / 1000, (most + reachMs) / 1000]
}

/** The lowest place of each ledger. */
function firstPlaces(records: readonly HistoryRecord[]): Buffer[] {
  const firsts = new Map<string, HistoryRecord>()
  for (const record of records) {
    const ledger = `${record.gateway}\n${record.epoch}`
    const known = firsts.get(ledger)
    if (known === undefined || record.sequence < known.sequence) firsts.set(ledger, record)
  }
  const places = [...firsts.values()]
  return [
    textArray(places, (place) => place.gateway),
    textArray(places, (place) => place.epoch),
    bigintArray(places, (place) => place.sequence),
  ]
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

function placeKey(place: LedgerPlace): string {
  return `${place.gateway}\n${place.epoch}\n${place.sequence}`
}

function identityKey({ source, id }: Pick<HistoryRecord, 'source' | 'id'>): string {
  return `${source}\n${id}`
}

function placeAndIdentity(record: HistoryRecord): string {
  return `${placeKey(record)}\n${record.source}\n${record.id}`
}
