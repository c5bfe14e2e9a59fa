import { queueGeneration } from '../../src/contract/wire.ts'
import type { Database } from '../database/database-postgres.ts'
import type { Members } from './members.ts'

const beatSql = `
with beat as (
  insert into tidegate.members (consumer_group, instance, seen_at, queue_generation)
  select consumer_group, $2, clock_timestamp(), $4 from unnest($1::text[]) as g (consumer_group) order by 1
  on conflict (consumer_group, instance) do update
    set seen_at = excluded.seen_at, queue_generation = excluded.queue_generation
)
select consumer_group, instance from tidegate.members
where consumer_group = any($1) and instance <> $2 and queue_generation = $4
  and seen_at > clock_timestamp() - make_interval(secs => $3::float8 / 1000)`

/**
 * Members by heartbeats in a table, judged by the database's clock. `goneAfterMs` without a beat is gone. Instances of a
 * former version that read other queues are none of ours to share with.
 */
export function postgresMembers(database: Database, instance: string, goneAfterMs: number): Members {
  return {
    async beat(groups) {
      const rows = await database.query<{ consumer_group: string; instance: string }>(beatSql, [
        groups,
        instance,
        goneAfterMs,
        queueGeneration,
      ])
      return new Map(
        groups.map((group) => [
          group,
          [
            instance,
            ...rows.filter((row) => row.consumer_group === group).map((row) => row.instance),
          ].toSorted(),
        ]),
      )
    },
    async leave() {
      await database.query('delete from tidegate.members where instance = $1', [instance])
    },
  }
}
