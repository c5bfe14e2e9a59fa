import type { Clock } from '../../src/clock.ts'
import type { Database } from '../database/database-postgres.ts'
import { postgresStorage } from '../database/storage-postgres.ts'
import type { Regressed, ReplaysUnderWay, Standing, Upkeep } from './upkeep.ts'

/** Any number; whoever folds has it until the end of its transaction, and nobody waits for it. */
const foldLock = 744_100_289

// One statement: what it takes it adds. A cause that is not there any more has no letters left to be counted.
const foldSql = `
with mine as materialized (select pg_try_advisory_xact_lock(${foldLock}) as had),
taken as (
  delete from tidegate.failure_counts where (select had from mine)
  returning fingerprint, letters, open, open_bytes, seen_at, version),
summed as (
  select fingerprint, sum(letters) as letters, sum(open) as open, sum(open_bytes) as open_bytes,
         max(seen_at) filter (where letters > 0) as seen_at,
         (array_agg(version order by seen_at desc) filter (where letters > 0))[1] as version
  from taken group by fingerprint),
before as (select g.fingerprint, g.status from tidegate.failure_groups as g join summed using (fingerprint)),
folded as (
  update tidegate.failure_groups as g set
    letters = g.letters + summed.letters, open = g.open + summed.open, open_bytes = g.open_bytes + summed.open_bytes,
    last_seen = greatest(g.last_seen, summed.seen_at),
    last_version = case when summed.seen_at is null then g.last_version else summed.version end,
    status = case when g.status = 'resolved' and summed.seen_at > g.changed_at then 'regressed' else g.status end
  from summed where summed.fingerprint = g.fingerprint
  returning g.fingerprint, g.consumer_group, g.code, g.status, g.resolved_version, g.last_version)
select fingerprint, consumer_group as "group", code, resolved_version as "resolvedVersion", last_version as version
from folded join before using (fingerprint)
where folded.status = 'regressed' and before.status = 'resolved'`

const standingSql = `
with counts as (
  select consumer_group, open, open_bytes from tidegate.failure_groups
  union all
  select g.consumer_group, c.open, c.open_bytes
  from tidegate.failure_counts as c join tidegate.failure_groups as g using (fingerprint))
select consumer_group as "group", sum(open)::float8 as open, sum(open_bytes)::float8 as bytes,
       (select greatest(0, extract(epoch from clock_timestamp() - last_failed_at)::float8 * 1000) from tidegate.dead_letters as d
        where d.consumer_group = counts.consumer_group and state in ('open', 'replaying') order by letter limit 1) as "oldestAgeMs"
from counts group by consumer_group`

const ageSql = `
with gone as (
  delete from tidegate.dead_letters where letter = any (array(
    select letter from tidegate.dead_letters
    where closed_at < now() - make_interval(secs => $1::float8 / 1000)
    order by closed_at limit $2 for update skip locked))
  returning letter)
select count(*)::int as removed from gone`

// Few, and found by an index: what has ended is not looked at.
const replaysSql = `
select count(*)::float8 as replays,
       coalesce(max(extract(epoch from clock_timestamp() - r.started_at)) * 1000, 0)::float8 as "oldestAgeMs",
       coalesce(max(extract(epoch from clock_timestamp() - r.moved_at)) * 1000, 0)::float8 as "stillMs",
       coalesce(sum(r.sent), 0)::float8 as sent,
       coalesce(sum(r.resolved + coalesce(c.resolved, 0)), 0)::float8 as resolved,
       coalesce(sum(r.failed + coalesce(c.failed, 0)), 0)::float8 as failed,
       coalesce(sum(r.repeats + coalesce(c.repeats, 0)), 0)::float8 as repeats,
       coalesce(sum(r.total - r.looked) filter (where r.source <> 'letters'), 0)::float8 as "historyLeft"
from tidegate.replays as r
left join (select replay, sum(resolved) as resolved, sum(failed) as failed, sum(repeats) as repeats from tidegate.replay_counts group by replay) as c using (replay)
where r.ended_at is null`

const forgettable = `
  open = 0 and last_seen < now() - make_interval(secs => $1::float8 / 1000)
    and status in ('open', 'resolved', 'regressed') and note is null and issue is null
    and not exists (select from tidegate.dead_letters as d where d.fingerprint = g.fingerprint)
    and not exists (select from tidegate.failure_counts as c where c.fingerprint = g.fingerprint)`

// Whoever adds a letter has a lock on its cause. What was added while this one waited is seen by the next statement alone: a statement
// sees what was committed before it began.
const lockForgettableSql = `
select fingerprint from tidegate.failure_groups as g where ${forgettable} order by fingerprint for update`

const forgetSql = `
delete from tidegate.failure_groups as g where fingerprint = any($2::text[]) and ${forgettable}`

/** Small, so that no lock is held for long; with the largest of bodies it is still a good second's work. */
const rowsMax = 500

export function postgresUpkeep(database: Database, clock: Clock): Upkeep {
  const storage = postgresStorage(database)
  return {
    async fold() {
      const rows = await database.query<Named<Regressed>>(foldSql)
      return rows.map(({ resolvedVersion, version, ...row }) => ({
        ...row,
        resolvedVersion: resolvedVersion ?? undefined,
        version: version ?? undefined,
      }))
    },
    async standing() {
      const rows = await database.query<Named<Standing>>(standingSql)
      return rows.map(({ oldestAgeMs, ...row }) => ({ ...row, oldestAgeMs: oldestAgeMs ?? undefined }))
    },
    async replays() {
      const [row] = await database.query<ReplaysUnderWay>(replaysSql)
      return row as ReplaysUnderWay
    },
    async age(retentionMs, signal) {
      for (let total = 0; ;) {
        const [row] = await database.query<{ removed: number }>(ageSql, [retentionMs, rowsMax])
        const removed = row?.removed ?? 0
        total += removed
        if (removed === rowsMax) {
          await clock.sleep(20, signal)
          continue
        }
        await storage.transaction(async (tx) => {
          const { rows } = await tx.query<{ fingerprint: string }>(lockForgettableSql, [retentionMs])
          const locked = rows.map(({ fingerprint }) => fingerprint)
          await tx.query(forgetSql, [retentionMs, locked])
        }, signal)
        return total
      }
    },
  }
}

/** As PostgreSQL says it: what is not there is null. */
type Named<Row> = {
  [Key in keyof Row]: undefined extends Row[Key] ? Exclude<Row[Key], undefined> | null : Row[Key]
}
