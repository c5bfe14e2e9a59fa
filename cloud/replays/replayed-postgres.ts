import type { Statements } from '../database/statements.ts'
import type { Replayed, SettledEvent } from './replayed.ts'

// In one order, so that rival transactions cannot deadlock.
const holdSql = `
select letter::float8, replay::float8 from tidegate.dead_letters
where consumer_group = $1 and state = 'replaying'
  and (letter, replay) in (select * from unnest($2::bigint[], $3::bigint[]))
order by letter for update`

const resolveSql = `
with done as (
  update tidegate.dead_letters set state = 'resolved', closed_at = clock_timestamp()
  where letter = any($1::bigint[]) and state = 'replaying'
  returning letter, consumer_group, source, id, replay, edit is not null as edited
), moved as (
  insert into tidegate.replay_counts (replay, resolved, failed)
  select replay, count(*), 0 from done where replay is not null group by replay
)
insert into tidegate.resolutions (letter, consumer_group, source, id, outcome, edited, replay)
select letter, consumer_group, source, id, 'resolved', edited, replay from done
where source is not null and id is not null`

// Markers that come when the start is over tell nobody anything, and nobody would fold them.
const countSql = `
insert into tidegate.replay_counts (replay, partition, generation, resolved, repeats, failed)
select replay, partition, generation, count(*) filter (where outcome = 'resolved'), count(*) filter (where outcome = 'repeat'),
       count(*) filter (where outcome = 'failed')
from unnest($1::bigint[], $2::smallint[], $3::text[], $4::text[]) as s (replay, partition, outcome, generation)
where not exists (select from tidegate.replays as r where r.replay = s.replay and r.source = 'start' and r.ended_at is not null)
group by replay, partition, generation`

export function replayedIn(statements: Statements): Replayed {
  return {
    async hold(group, letters) {
      const rows = await statements.run<[letter: number, replay: number]>('replayed-hold', holdSql, [
        group,
        letters.map(({ letter }) => letter),
        letters.map(({ replay }) => replay),
      ])
      return rows.map(([letter, replay]) => ({ letter, replay }))
    },
    async resolve(letters) {
      await statements.run('replayed-resolve', resolveSql, [letters])
    },
    count: (settled) => countSettled(statements, settled),
  }
}

/** In the transaction of what has become of them. */
export async function countSettled(statements: Statements, settled: readonly SettledEvent[]): Promise<void> {
  if (settled.length === 0) return
  await statements.run('replayed-count', countSql, [
    settled.map(({ replay }) => replay),
    settled.map(({ partition }) => partition),
    settled.map(({ outcome }) => outcome),
    settled.map(({ generation }) => generation ?? null),
  ])
}
