import type { Database } from '../../../cloud/database/database-postgres.ts'

/** SQL by which a group has processed an event just now. */
export function processedSql(group: string, source: string, id: string): string {
  return `do $$
begin
  execute format('insert into tidegate.%I (key, at_ms, consumer_group) select tidegate.inbox_key(%L, %L), extract(epoch from now() - date_trunc(''week'', now(), ''UTC'')) * 1000, number from tidegate.inbox_group(%L) as number',
    'inbox_' || to_char(date_trunc('week', now() at time zone 'UTC'), 'YYYYMMDD'), '${source}', '${id}', '${group}');
end
$$`
}

/** As the owner: it is a week later, for the inbox. What was claimed this week was claimed last week, and so on. */
export async function weekPasses(database: Pick<Database, 'query'>): Promise<void> {
  await database.query(`
do $$
declare
  week record;
begin
  for week in select * from tidegate.inbox_weeks where from_time > now() order by from_time loop
    execute format('drop table tidegate.%I', week.name);
  end loop;
  delete from tidegate.inbox_weeks where from_time > now();
  for week in select * from tidegate.inbox_weeks where name <> 'inbox' order by from_time loop
    execute format('alter table tidegate.%I rename to %I', week.name, 'inbox_' || to_char((week.from_time - interval '168 hours') at time zone 'UTC', 'YYYYMMDD'));
    update tidegate.inbox_weeks set name = 'inbox_' || to_char((from_time - interval '168 hours') at time zone 'UTC', 'YYYYMMDD') where name = week.name;
  end loop;
  update tidegate.inbox_weeks set from_time = from_time - interval '168 hours', until_time = until_time - interval '168 hours',
    forgotten_at = forgotten_at - interval '168 hours';
  perform tidegate.prepare_inbox();
end
$$`)
}
