import { outageOfOurs } from '../../database/faults-postgres.ts'
import type { Database } from '../../database/database-postgres.ts'
import { requireSchema } from '../../database/migrate-postgres.ts'
import { migrations } from '../../database/migrations/all.ts'
import { trustNoSchema } from '../../database/roles-postgres.ts'
import type { LedgerPlace } from '../../history/history.ts'
import { saysTheSame } from '../../history/record.ts'
import type { DoubledIdentity } from './duplicates.ts'

const pageRows = 500

// The unique indexes of the partitions, merged: each is in this order, so that nothing is sorted and nothing is kept.
const identitiesSql = `
declare identities no scroll cursor for
select source, id from tidegate.events group by id, source having count(*) > 1 order by id, source`

const placesSql = `
select d.source, d.id, e.gateway, e.epoch, e.sequence::float8 as sequence, e.body::text as body
from unnest($1::text[], $2::text[]) with ordinality as d (source, id, place)
join lateral (select * from tidegate.events as e where e.id = d.id and e.source = d.source) as e on true
order by d.place, e.position`

/**
 * What the append does not look for: identities that came again later than `history.dedupWindow`. One pass over the indexes, in flat
 * memory.
 * @throws TidegateError `DATABASE_UNREACHABLE`, and what `requireSchema` throws.
 */
export async function* findDuplicates(database: Database): AsyncGenerator<DoubledIdentity> {
  const client = await database.connect()
  try {
    await trustNoSchema(client)
    await client.query('begin transaction isolation level repeatable read, read only')
    await requireSchema(client, migrations, database.where)
    await client.query(
      'set local enable_hashagg = off; set local enable_sort = off; set local enable_seqscan = off',
    )
    await client.query('set local cursor_tuple_fraction = 1')
    await client.query(identitiesSql)
    for (;;) {
      const { rows } = await client.query<{ source: string; id: string }>(`fetch ${pageRows} from identities`)
      if (rows.length === 0) break
      const places = await client.query<PlaceRow>(placesSql, [
        rows.map(({ source }) => source),
        rows.map(({ id }) => id),
      ])
      yield* gathered(places.rows)
    }
    await client.query('commit')
  } catch (error) {
    throw outageOfOurs(database.where, error) ?? error
  } finally {
    client.release(true)
  }
}

interface PlaceRow extends LedgerPlace {
  source: string
  id: string
  body: string
}

function gathered(rows: readonly PlaceRow[]): DoubledIdentity[] {
  const found: (DoubledIdentity & { body: string })[] = []
  for (const { source, id, gateway, epoch, sequence, body } of rows) {
    const last = found.at(-1)
    const place = { gateway, epoch, sequence }
    if (last?.source !== source || last.id !== id)
      found.push({ source, id, places: [place], saysTheSame: true, body })
    else {
      last.places.push(place)
      last.saysTheSame &&= saysTheSame(last.body, body)
    }
  }
  return found.map(({ source, id, places, saysTheSame: isSame }) => ({
    source,
    id,
    places,
    saysTheSame: isSame,
  }))
}
