import type { Statements } from '../../database/statements.ts'
import type { HistoryRecord } from '../history.ts'
import { saysTheSame } from '../record.ts'
import { findAroundSql, findSql, readSql } from './statements.ts'
import { boundsOf, identities, identityKey, placeKey, type Window } from './values.ts'

/** Each may be a third of a megabyte (G7). */
const readTogetherMax = 16

export type PlaceRow = [gateway: string, epoch: string, sequence: string, source: string, id: string]

/** Those that say something else than all that is stored under their identity. */
export async function findRivals(
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

/** Of each identity that is stored, all its places. */
export async function findPlaces(
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
