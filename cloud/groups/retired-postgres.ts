import type { Database } from '../database/database-postgres.ts'
import type { Kept, RetiredRegister } from './retired.ts'

const presentSql = `
select instance from tidegate.members
where consumer_group = $1 and seen_at > clock_timestamp() - make_interval(secs => $2::float8 / 1000) order by instance`

// What history did not believe, or could not read, is a letter of its own.
const keptSql = `
select n::int as n from unnest($1::text[], $2::text[], $3::bytea[], $4::bytea[]) with ordinality as m (source, id, key, bare_key, n)
where exists (select from tidegate.events as e where e.id = m.id and e.source = m.source)
  or exists (select from tidegate.dead_letters as d where d.consumer_group = 'history' and d.id = m.id and d.source = m.source)
  or exists (select from tidegate.dead_letters as d
    where d.consumer_group = 'history' and d.key in (m.key, m.bare_key) and d.state in ('open', 'replaying'))`

/** In PostgreSQL. An instance without a heartbeat for `goneAfterMs` is gone. */
export function postgresRetiredRegister(
  database: Pick<Database, 'query'>,
  group: string,
  goneAfterMs: number,
): RetiredRegister {
  return {
    async present() {
      const rows = await database.query<{ instance: string }>(presentSql, [group, goneAfterMs])
      return rows.map(({ instance }) => instance)
    },
    async kept(messages: readonly Kept[]) {
      const rows = await database.query<{ n: number }>(keptSql, [
        messages.map(({ identity }) => identity?.source ?? null),
        messages.map(({ identity }) => identity?.id ?? null),
        messages.map(({ key }) => key),
        messages.map(({ bareKey }) => bareKey),
      ])
      return new Set(rows.map(({ n }) => n - 1))
    },
  }
}
