import type { Database } from '../database/database-postgres.ts'
import type { ParkingBounds } from './occupancy.ts'

const crowdedSql = `
select coalesce(max(events) >= $2 or sum(events) >= $3, false) as crowded
from (select sum(events) as events from tidegate.parked_counts where consumer_group = $1 group by device) as waiting`

/**
 * Whether half of what may wait in a group does, of one device or of all: who can wait himself, as history can, goes on when it is less, so
 * that what cannot finds room (G6, G7).
 * @throws TidegateError `DATABASE_*`
 */
export async function isCrowded(
  database: Pick<Database, 'query'>,
  group: string,
  { eventsMaxPerDevice, eventsMax }: ParkingBounds,
): Promise<boolean> {
  const bounds = [eventsMaxPerDevice / 2, eventsMax / 2]
  const [row] = await database.query<{ crowded: boolean }>(crowdedSql, [group, ...bounds])
  return row?.crowded === true
}
