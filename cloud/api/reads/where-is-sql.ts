/** The questions of `where`: each by an index, of every partition where it is of history. */

const columns = `source, id, type, gateway, epoch, sequence, position, era, tx, time, recorded_time, stored_time, disposition, reason`

const ofAsked = `($2::text is null or source = $2) and ($3::text[] is null or type = any($3))`

/**
 * $1 ID, $2 source, $3 types, $4 how many: those that were accepted before those that were not. A reading that was rejected is found by the ID
 * that its device gave it, too: the index has its beginning.
 */
export const eventsSql = `
with named as (
  (select ${columns}, false as claimed from tidegate.events where id = $1 and ${ofAsked}
   order by disposition <> 'accepted', stored_time limit $4::int)
  union all
  (select ${columns}, true from tidegate.events
   where type = 'dev.tidegate.rejected' and tidegate.claimed_id(body) = left($1, 128) and id <> $1 and ${ofAsked}
     and case when tidegate.claimed_id(body) is not null then body -> 'data' ->> 'id' end = $1
   order by stored_time limit $4::int))
select e.source, e.id, e.type, e.gateway, e.epoch, e.sequence::float8 as sequence, e.position::float8 as position,
  e.era || '.' || e.tx || '.' || e.position as cursor, e.claimed,
  (e.era, e.tx) < (b.end_era, b.end_tx) as readable,
  e.time, e.recorded_time, e.stored_time, e.disposition, e.reason,
  a.admitted_epoch, a.admitted_sequence::float8 as admitted_sequence, a.at as admitted_at
from named as e cross join tidegate.readable_before() as b left join tidegate.admissions as a using (gateway, epoch, sequence)
order by e.disposition <> 'accepted', e.stored_time limit $4::int`

const ofOne = `id = $1 and ($2::text is null or source = $2) and ($3::text[] is null or consumer_group = any($3))`

/** $1 ID, $2 source, $3 groups. The inbox is by identities: whose ID it can be is asked first. */
export const groupsSql = `
with sources as (
  select source from tidegate.events where id = $1
  union select source from tidegate.dead_letters where id = $1)
select p.consumer_group as group, sources.source, $1 as id, p.processed_at as at
from sources cross join lateral tidegate.processed(sources.source, $1) as p
where ($2::text is null or sources.source = $2) and ($3::text[] is null or p.consumer_group = any($3))
order by p.processed_at limit 100`

/** $1 ID, $2 source, $3 groups. By the key of what waits, which is that of its identity (`letterKey`), of each group of which something does. */
export const parkedSql = `
with recursive parking as (
  (select consumer_group from tidegate.parked_devices order by consumer_group limit 1)
  union all
  select (select d.consumer_group from tidegate.parked_devices as d where d.consumer_group > parking.consumer_group
          order by d.consumer_group limit 1)
  from parking where parking.consumer_group is not null),
sources as (
  select source from tidegate.events where id = $1
  union select source from tidegate.dead_letters where id = $1
  union select $2::text where $2::text is not null)
select e.consumer_group as group, sources.source, $1 as id, e.arrived_at as at, d.state,
  not exists (
    select from tidegate.parked_events as before
    where (before.consumer_group, before.device) = (e.consumer_group, e.device) and before.n < e.n) as first,
  d.attempt, d.next_at as "nextAt", d.code
from parking cross join sources
join tidegate.parked_events as e
  on e.consumer_group = parking.consumer_group and e.key = sha256(convert_to(E'event\\n' || sources.source || E'\\n' || $1, 'UTF8'))
join tidegate.parked_devices as d on d.consumer_group = e.consumer_group and d.device = e.device
where ($2::text is null or sources.source = $2) and ($3::text[] is null or e.consumer_group = any($3))
order by e.arrived_at limit 100`

/** All versions: there are few. */
export const projectionsSql = `
select v.name, v.version, v.version = p.active as active, v.types, v.cursor, v.skipped, case when v.state = 'halted' then v.halted_cursor end as halted
from tidegate.projection_versions as v left join tidegate.projections as p using (name)
order by v.name, v.version limit 1000`

/** $1 ID, $2 source, $3 groups, $4 types. */
export const lettersSql = `
select letter::float8 as letter, consumer_group as group, source, id, state, code, fingerprint, attempts, replays, replay::float8 as replay,
  first_failed_at as "firstFailedAt", last_failed_at as "lastFailedAt", closed_at as "closedAt"
from tidegate.dead_letters where ${ofOne} and ($4::text[] is null or type = any($4)) order by letter limit 100`

/** $1 ID, $2 source, $3 groups. */
export const resolutionsSql = `
select letter::float8 as letter, consumer_group as group, source, id, outcome, at
from tidegate.resolutions where ${ofOne} order by at limit 100`

/** $1 ID, $2 source. Repeats, and other readings of the same name: their text is in the note. */
export const notesSql = `
select $1 as id, body ->> 'source' as source, gateway, epoch, from_sequence::float8 as sequence, reason, noted_at as at
from tidegate.ledger_notes
where body is not null and tidegate.noted_id(body) = left($1, 128) and ($2::text is null or body ->> 'source' = $2)
  and case when tidegate.noted_id(body) is not null then body ->> 'id' end = $1
order by noted_at limit 100`

export const gatewaysMax = 50
/** Who has spoken last is looked for among so many events. */
const lookedAtMax = 2_000
const recentMax = 1000

/**
 * What the newest ledger of each gateway says, newest by when it was stored: how far it is here, and what is missing of its last ${recentMax}
 * places. Of more gateways than so many: those that have spoken last. Those with gaps are first.
 */
export const gatewaysSql = `
with recursive names as (
  (select gateway from tidegate.events order by gateway limit 1)
  union all
  select (select e.gateway from tidegate.events as e where e.gateway > names.gateway order by e.gateway limit 1)
  from names where names.gateway is not null),
recent as materialized (
  select gateway, min(n) as rank
  from (select gateway, row_number() over () as n
        from (select gateway from tidegate.events order by era desc, tx desc, position desc limit ${lookedAtMax}) as e) as ranked
  group by gateway),
known as materialized (
  select gateway, min(rank) as rank
  from (select * from recent
        union all
        (select gateway, ${lookedAtMax} + 1 from names where gateway is not null limit (select count(*) from recent) + ${gatewaysMax} + 1)) as one
  group by gateway order by 2, 1 limit ${gatewaysMax} + 1),
chosen as (select gateway from known order by rank, gateway limit ${gatewaysMax})
select * from (
select (select count(*) from known) > ${gatewaysMax} as "isCut", n.gateway, newest.epoch, newest.sequence::float8 as "lastSequence", newest.stored_time as "storedAt",
  coalesce((
    select json_agg(json_build_array(gap.first, gap.last) order by gap.first)
    from (
      select min(missing.sequence) as first, max(missing.sequence) as last
      from (
        select absent.sequence, absent.sequence - row_number() over (order by absent.sequence) as island
        from (
          select place.sequence
          from generate_series(greatest(1, newest.sequence - ${recentMax} + 1), newest.sequence) as place (sequence)
          left join (
            select e.sequence from tidegate.events as e
            where e.gateway = n.gateway and e.epoch = newest.epoch and e.sequence > newest.sequence - ${recentMax}
            -- Once: in which week a place is nobody knows, and each would be looked for in all.
            offset 0) as there using (sequence)
          where there.sequence is null
          and not exists (
            select from tidegate.ledger_notes as o
            where o.gateway = n.gateway and o.epoch = newest.epoch
              and o.from_sequence <= place.sequence and o.to_sequence >= place.sequence)
          -- Asked of those alone that are missing.
          offset 0) as absent
        where not tidegate.is_retired(n.gateway, newest.epoch, absent.sequence)) as missing
      group by missing.island) as gap
  ), '[]') as gaps,
  coalesce((
    select json_agg(json_build_array(o.from_sequence, o.to_sequence, o.reason) order by o.from_sequence)
    from (
      select * from tidegate.ledger_notes as o
      where o.gateway = n.gateway and o.epoch = newest.epoch and o.reason in ('expired', 'evicted', 'lost')
      order by o.from_sequence desc limit 10) as o
  ), '[]') as undelivered
from chosen as n
cross join lateral (
  with recursive epochs as (
    (select e.epoch from tidegate.events as e where e.gateway = n.gateway order by e.gateway, e.epoch limit 1)
    union all
    select (select e.epoch from tidegate.events as e where e.gateway = n.gateway and e.epoch > epochs.epoch
            order by e.gateway, e.epoch limit 1)
    from epochs where epochs.epoch is not null)
  select e.epoch, e.sequence, e.stored_time
  from epochs cross join lateral (
    select * from tidegate.events as e where e.gateway = n.gateway and e.epoch = epochs.epoch
    order by e.gateway desc, e.epoch desc, e.sequence desc limit 1) as e
  order by e.era desc, e.tx desc, e.position desc limit 1) as newest) as one
order by gaps::text = '[]', "storedAt" desc, gateway`
