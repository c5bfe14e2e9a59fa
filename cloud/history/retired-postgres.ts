import { bigintArray, textArray } from '../database/arrays-postgres.ts'
import type { Statements } from '../database/statements.ts'
import type { LedgerPlace } from './history.ts'

const retiredSql = `
select n - 1 from unnest($1::text[], $2::text[], $3::bigint[]) with ordinality as s (gateway, epoch, sequence, n)
where tidegate.is_retired(gateway, epoch, sequence)`

/** Those whose places are in an archive, and whose partition is gone: they were stored, once (G4). */
export async function findRetired<Place extends LedgerPlace>(
  statements: Statements,
  places: readonly Place[],
): Promise<Set<Place>> {
  if (places.length === 0) return new Set()
  const rows = await statements.run<[index: string]>('history-retired', retiredSql, [
    textArray(places, (place) => place.gateway),
    textArray(places, (place) => place.epoch),
    bigintArray(places, (place) => place.sequence),
  ])
  return new Set(rows.map(([index]) => places[Number(index)] as Place))
}
