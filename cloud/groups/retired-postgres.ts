import type { Database } from '../database/database-postgres.ts'
import type { Kept, RetiredRegister } from './retired.ts'

const presentSql = `
select instance from tidegate.members
where consumer_group = $1 and seen_at > clock_timestamp() - make_interval(secs => $2::float8 / 1000) order by instance`

// History that has an event twice has it as of two times, so far apart at most; what was retired was in history. What history did not
// believe is a letter of its own, whatever became of that.
const keptSql = `
select n::int as n from unnest($1::text[], $2::text[], $3::timestamptz[], $4::text[], $5::text[], $6::bigint[])
  with ordinality as m (source, id, recorded_time, gateway, epoch, sequence, n)
where exists (select from tidegate.events as e where e.id = m.id and e.source = m.source
    and e.recorded_time between m.recorded_time - make_interval(secs => $7::float8 / 1000) and m.recorded_time + make_interval(secs => $7::float8 / 1000))
  or exists (select from tidegate.dead_letters as d where d.consumer_group = 'history' and d.id = m.id and d.source = m.source)
  or tidegate.is_retired(m.gateway, m.epoch, m.sequence)`

// Those that are closed are in no index by their keys: one look for all.
const keyedSql = `
select distinct n::int as n
from (select n, key from unnest($1::bytea[]) with ordinality as k (key, n) union all select n, key from unnest($2::bytea[]) with ordinality as b (key, n)) as m
join tidegate.dead_letters as d on d.key = m.key and d.consumer_group = 'history'`

export interface RetiredRegisterOptions {
  group: string
  /** An instance without a heartbeat for so long is gone. */
  goneAfterMs: number
  /** How far apart two events may be recorded that are one. */
  dedupWindowMs: number
}

/** In PostgreSQL. */
export function postgresRetiredRegister(
  database: Pick<Database, 'query'>,
  { group, goneAfterMs, dedupWindowMs }: RetiredRegisterOptions,
): RetiredRegister {
  return {
    async isOurs() {
      const sql = 'select from tidegate.former_rollups where queues_gone_at is null'
      return (await database.query(sql)).length > 0
    },
    async removed() {
      await database.query(
        'update tidegate.former_rollups set queues_gone_at = clock_timestamp() where queues_gone_at is null',
      )
    },
    async present() {
      const rows = await database.query<{ instance: string }>(presentSql, [group, goneAfterMs])
      return rows.map(({ instance }) => instance)
    },
    async kept(messages) {
      const found = new Set(await inHistory(messages))
      const others = [...messages.keys()].filter((index) => !found.has(index))
      if (others.length === 0) return found
      const keysOf = (which: 'key' | 'bareKey'): (Buffer | undefined)[] =>
        others.map((index) => messages[index]?.[which])
      const rows = await database.query<{ n: number }>(keyedSql, [keysOf('key'), keysOf('bareKey')])
      for (const { n } of rows) found.add(others[n - 1] ?? -1)
      return found
    },
  }

  async function inHistory(messages: readonly Kept[]): Promise<number[]> {
    const rows = await database.query<{ n: number }>(keptSql, [
      messages.map(({ identity }) => identity?.source ?? null),
      messages.map(({ identity }) => identity?.id ?? null),
      messages.map(({ place }) => place?.recordedTime ?? null),
      messages.map(({ place }) => place?.gateway ?? null),
      messages.map(({ place }) => place?.epoch ?? null),
      messages.map(({ place }) => place?.sequence ?? null),
      dedupWindowMs,
    ])
    return rows.map(({ n }) => n - 1)
  }
}
