import { bigintArray, doubleArray, textArray } from '../../database/arrays-postgres.ts'
import type { HistoryRecord, LedgerPlace } from '../history.ts'

const weekMs = 7 * 24 * 3_600_000

/** Within how long, either way, two copies of one identity are one. */
export interface Window {
  ms: number
  /** The same, in PostgreSQL's words. */
  interval: string
}

export function identities(records: readonly HistoryRecord[]): Buffer[] {
  return [textArray(records, (record) => record.source), textArray(records, (record) => record.id)]
}

/** Within which all lies that may be found in the weeks around these records, or in their own. */
export function boundsOf(
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
export function firstPlaces(records: readonly HistoryRecord[]): Buffer[] {
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

export function columns(records: readonly HistoryRecord[]): Buffer[] {
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

export function placeKey(place: LedgerPlace): string {
  return `${place.gateway}\n${place.epoch}\n${place.sequence}`
}

export function byPlace(one: LedgerPlace, other: LedgerPlace): number {
  if (one.gateway !== other.gateway) return one.gateway < other.gateway ? -1 : 1
  if (one.epoch !== other.epoch) return one.epoch < other.epoch ? -1 : 1
  return one.sequence - other.sequence
}

export function identityKey({ source, id }: Pick<HistoryRecord, 'source' | 'id'>): string {
  return `${source}\n${id}`
}

export function placeAndIdentity(record: HistoryRecord): string {
  return `${placeKey(record)}\n${record.source}\n${record.id}`
}
