import { isBehindRetired, isNotRetired } from './retired-postgres.ts'

const sameIdentity = 'e.id = s.id and e.source = s.source'
const samePlace = 'e.gateway = s.gateway and e.epoch = s.epoch and e.sequence = s.sequence'

const week = "interval '168 hours'"

/** Bounds of the whole call, by which PostgreSQL leaves the other weeks out before it has planned or locked them. */
const around = 'e.recorded_time >= to_timestamp($15::float8) and e.recorded_time <= to_timestamp($16::float8)'

/**
 * In the weeks around its own, where an index says it: PostgreSQL chooses them row by row. `offset 0` keeps it from joining all at once:
 * a plan that it made while a week was empty would go on reading the whole of it for each batch.
 */
const isNowhereElse = (same: string): string => `
  not exists (select from tidegate.events as e where ${same} and ${around}
    and e.recorded_time >= s.recorded_time - $14::interval and e.recorded_time < s.week offset 0)
  and not exists (select from tidegate.events as e where ${same} and ${around}
    and e.recorded_time >= s.week + ${week} and e.recorded_time <= s.recorded_time + $14::interval offset 0)`

// Sorted by place, so that rival transactions lock in one order.
const appendSql = (isNew: string): string => `
insert into tidegate.events
  (era, gateway, epoch, sequence, source, id, type, subject, dataschema, time, recorded_time, disposition, reason, body)
select (select tidegate.current_era()), gateway, epoch, sequence, source, id, type, subject, dataschema, time, recorded_time,
       disposition, reason, body
from (
  select gateway, epoch, sequence, source, id, type, subject, dataschema, to_timestamp(time_ms / 1000) as time,
         to_timestamp(recorded_ms / 1000) as recorded_time, disposition, reason, body::json as body,
         date_trunc('week', to_timestamp(recorded_ms / 1000), 'UTC') as week
  from unnest($1::text[], $2::text[], $3::bigint[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[],
              $9::float8[], $10::float8[], $11::text[], $12::text[], $13::text[])
    as u (gateway, epoch, sequence, source, id, type, subject, dataschema, time_ms, recorded_ms, disposition, reason, body)
  offset 0) as s
where ${isNew}
order by gateway collate "C", epoch collate "C", sequence`

// An outbox that was put back numbers anew: the first of each ledger shows it, and then all are asked for one by one.
const firstPlacesAreFree = `not exists (
  select from unnest($17::text[], $18::text[], $19::bigint[]) as s (gateway, epoch, sequence)
  where exists (select from tidegate.events as e where ${samePlace} and ${around} offset 0)
     or ${isBehindRetired})`

export const appendNewSql = `
with new as (${appendSql(`${firstPlacesAreFree} and ${isNowhereElse(sameIdentity)}`)} returning 1)
select count(*)::int from new`

// A conflict on either key is a row not returned.
export const appendFreshSql = `${appendSql(`${isNowhereElse(sameIdentity)} and ${isNowhereElse(samePlace)} and ${isNotRetired}`)}
on conflict do nothing
returning gateway, epoch, sequence, source, id`

const copiesSql = (columns: string, when = 'true'): string => `
select ${columns} from unnest($1::text[], $2::text[]) as s (source, id)
cross join lateral (select * from tidegate.events as e where ${sameIdentity} and ${when} offset 0) as e`

const placesOf = 'e.gateway, e.epoch, e.sequence, e.source, e.id'
export const findAroundSql = copiesSql(
  placesOf,
  'e.recorded_time >= to_timestamp($3::float8) and e.recorded_time <= to_timestamp($4::float8)',
)
// What a partition of before refuses may have been recorded at any time.
export const findSql = copiesSql(placesOf)

export const readSql = copiesSql('e.source, e.id, e.body::text')
