import { expect, vi } from 'vitest'
import type { Database } from '../../../cloud/database/database-postgres.ts'

const weekSql = `
do $$
declare
  starts timestamptz;
  name text;
begin
  for week in 1..WEEKS loop
    starts := (date_trunc('week', now() at time zone 'UTC') at time zone 'UTC') + (week + 2) * interval '1 week';
    name := 'events_' || to_char(starts at time zone 'UTC', 'YYYYMMDD');
    perform tidegate.make_partition(name);
    execute format('alter table tidegate.events attach partition tidegate.%I for values from (%L) to (%L)',
      name, starts, starts + interval '1 week');
  end loop;
end $$`

const eventsSql = `
insert into tidegate.events (gateway, epoch, sequence, source, id, type, time, recorded_time, disposition, body)
select 'gateway-1', '01JGFJJZ00TESTTESTTESTTEST', n, '/devices/sensor-' || n % 200, 'id-' || n,
  case when n % 3 = 0 then 'com.acme.power' else 'com.acme.climate' end, t, t, 'accepted',
  json_build_object('id', 'id-' || n, 'data', repeat('x', 400))
from generate_series($1::bigint, $2::bigint) as n,
  lateral (select now() - interval '1 week' + (n % 100000) * interval '1 week' * 59 / 100000 as t) as x`

/** History of so many weeks more than there are, and events spread over all of them. As the owner. */
export async function fillWeeks(
  database: Database,
  { events, weeks, from = 0 }: { events: number; weeks: number; from?: number },
): Promise<void> {
  if (weeks > 0) await database.query(weekSql.replace('WEEKS', String(weeks)))
  const step = 25_000
  for (let first = from + 1; first <= from + events; first += step)
    await database.query(eventsSql, [first, Math.min(from + events, first + step - 1)])
  await database.query('analyze tidegate.events')
}

/** Other tests write in databases of the same cluster, and hold readers of this one up: until all there is can be read. */
export async function allReadable(database: Database): Promise<void> {
  await vi.waitFor(
    async () => {
      const beyond = await database.query(
        `select from tidegate.events
         where (era, tx) >= (select end_era, end_tx from tidegate.readable_before()) limit 1`,
      )
      expect(beyond).toEqual([])
    },
    { timeout: 25_000 },
  )
}
