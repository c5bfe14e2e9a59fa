import { isTaken } from '../../database/faults-postgres.ts'
import type { Statements } from '../../database/statements.ts'
import type { Appended, HistoryRecord } from '../history.ts'
import { findPlaces, findRivals, type PlaceRow } from './found-postgres.ts'
import { findRetired } from './retired-postgres.ts'
import { appendFreshSql, appendNewSql } from './statements.ts'
import {
  boundsOf,
  byPlace,
  columns,
  firstPlaces,
  identityKey,
  placeAndIdentity,
  placeKey,
  type Window,
} from './values.ts'

/**
 * From so many records on it pays to take all of them for new at first: PostgreSQL asks every index beforehand whether a row is there
 * when a conflict is to do nothing, which is a fifth of what storing it costs. Repeats are few, and cost those they come with.
 */
const takenForNewMin = 16

/** What could not be stored as a whole is tried so many at a time: a repeat costs those of its hundred twice the work, and not a thousand. */
const triedAgainMax = 100

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
  if (records.length > triedAgainMax) return storeByHundreds(statements, records, window)
  const rows = await statements.run<PlaceRow>('history-append-fresh', appendFreshSql, values)
  const appended = new Set(rows.map((row) => row.join('\n')))
  return new Set(records.filter((record) => appended.has(placeAndIdentity(record))))
}

/** In the order of their places, in which one statement would store them: rival transactions lock in one order. */
async function storeByHundreds(
  statements: Statements,
  records: readonly HistoryRecord[],
  window: Window,
): Promise<Set<HistoryRecord>> {
  const sorted = records.toSorted(byPlace)
  const stored = new Set<HistoryRecord>()
  for (let at = 0; at < sorted.length; at += triedAgainMax) {
    const some = await store(statements, sorted.slice(at, at + triedAgainMax), window)
    for (const record of some) stored.add(record)
  }
  return stored
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
