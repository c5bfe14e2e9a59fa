import { bigintArray, doubleArray, textArray } from '../../database/arrays-postgres.ts'
import type { Statements } from '../../database/statements.ts'
import type { HistoryRecord } from '../history.ts'

/**
 * Of a place `s`. A week knows nothing of what was retired, and one whose outbox was put back may come there with a number of then. For what
 * goes on where its ledger ends, this is a look at the end of a small index.
 */
export const isNotRetired = `
  not exists (select from tidegate.retired as r
    where r.gateway = s.gateway and r.epoch = s.epoch and r.to_sequence >= s.sequence and r.from_sequence <= s.sequence offset 0)`

/** Whether something behind a place `s` of its ledger is retired, or the place is. */
export const isBehindRetired = `
  exists (select from tidegate.retired as r
    where r.gateway = s.gateway and r.epoch = s.epoch and r.to_sequence >= s.sequence offset 0)`

const retiredSql = `
select n - 1 from unnest($1::text[], $2::text[], $3::bigint[], $4::float8[]) with ordinality as s (gateway, epoch, sequence, recorded_ms, n)
where exists (
  select from tidegate.retired as r join tidegate.retirements as t using (retirement)
  where r.gateway = s.gateway and r.epoch = s.epoch and r.to_sequence >= s.sequence and r.from_sequence <= s.sequence
    and to_timestamp(s.recorded_ms / 1000) >= t.from_time and to_timestamp(s.recorded_ms / 1000) < t.until_time)`

/** What history is asked of. */
type Placed = Pick<HistoryRecord, 'gateway' | 'epoch' | 'sequence' | 'recordedMs'>

/**
 * Those whose places are in an archive, and that were recorded in the time of its partition, which is gone: they were stored, once (G4).
 * One that was recorded at another time is another event.
 */
export async function findRetired<Place extends Placed>(
  statements: Statements,
  places: readonly Place[],
): Promise<Set<Place>> {
  if (places.length === 0) return new Set()
  const rows = await statements.run<[index: string]>('history-retired', retiredSql, [
    textArray(places, (place) => place.gateway),
    textArray(places, (place) => place.epoch),
    bigintArray(places, (place) => place.sequence),
    doubleArray(places, (place) => place.recordedMs),
  ])
  return new Set(rows.map(([index]) => places[Number(index)] as Place))
}
