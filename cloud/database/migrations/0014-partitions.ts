import type { Migration } from './migration.ts'

/**
 * History by weeks of `recorded_time`, which is in the text and never restamped: the same text always meets its own partition, and the
 * unique indexes of that one. What there was becomes the first partition as it is: nothing is copied, so nothing can be lost on the way.
 * Readers that must not skip go by `(era, tx, position)`.
 */
export const partitions: Migration = {
  version: 14,
  name: 'partitions',
  sql: `
create table tidegate.eras (
  era      smallint primary key,
  system   text not null,
  timeline bigint not null,
  since    timestamptz not null default clock_timestamp()
);
comment on table tidegate.eras is
  'Clusters and timelines in which this history was written: transaction IDs count within one. Append-only.';
create trigger append_only before update or delete or truncate on tidegate.eras
  for each statement execute function tidegate.refuse_change();

create function tidegate.current_era() returns smallint language sql stable security definer
set search_path = pg_catalog, pg_temp as 'select max(era) from tidegate.eras';
comment on function tidegate.current_era is 'The era that events are stored in now.';

create function tidegate.enter_era() returns smallint language plpgsql security definer
set search_path = pg_catalog, pg_temp as $$
declare
  here text := (select system_identifier::text from pg_control_system());
  line bigint := (select timeline_id from pg_control_checkpoint());
  latest tidegate.eras;
begin
  perform pg_advisory_xact_lock(7441002872);
  select * into latest from tidegate.eras order by era desc limit 1;
  if latest.system is distinct from here or latest.timeline is distinct from line then
    insert into tidegate.eras (era, system, timeline) values (coalesce(latest.era, 0) + 1, here, line);
  end if;
  return tidegate.current_era();
end
$$;
comment on function tidegate.enter_era is
  'For whoever stores events, at its start: after a restore into another cluster, or a failover, it opens an era that comes after all there was.';
select tidegate.enter_era();

alter table tidegate.events rename to events_before;
alter index tidegate.events_pkey rename to events_before_pkey;
alter index tidegate.events_source_id_key rename to events_before_source_id_key;
alter index tidegate.events_position_key rename to events_before_position;
alter index tidegate.events_set_aside rename to events_before_set_aside;

create sequence tidegate.event_position as bigint;
select setval('tidegate.event_position', 1 + coalesce((select max(position) from tidegate.events_before), 0), false);
alter table tidegate.events_before
  alter column position drop identity,
  alter column position set default nextval('tidegate.event_position'),
  add column era smallint not null default 0,
  add column tx xid8 not null default '0';
alter table tidegate.events_before
  alter column era set default tidegate.current_era(),
  alter column tx set default pg_current_xact_id();

create table tidegate.events (
  position      bigint not null default nextval('tidegate.event_position'),
  gateway       text collate "C" not null,
  epoch         text collate "C" not null,
  sequence      bigint not null constraint events_sequence_check check (sequence >= 1),
  source        text collate "C" not null,
  id            text collate "C" not null,
  type          text not null,
  subject       text,
  dataschema    text,
  time          timestamptz not null,
  recorded_time timestamptz not null,
  stored_time   timestamptz not null default clock_timestamp(),
  disposition   text not null constraint events_disposition_check check (disposition in ('accepted', 'rejected', 'dead')),
  reason        text,
  body          json not null,
  era           smallint not null default tidegate.current_era(),
  tx            xid8 not null default pg_current_xact_id()
) partition by range (recorded_time);
alter sequence tidegate.event_position owned by tidegate.events.position;
comment on table tidegate.events is
  'Every event, once, for ever: in partitions by weeks of recorded_time. Append-only. In the order of (era, tx, position), behind the horizon, nothing is skipped.';
comment on column tidegate.events.body is
  'The wire text. Of type json, not jsonb: it is kept character by character, so that the hash chain can be verified.';
comment on column tidegate.events.era is
  'The cluster and timeline it was stored in (tidegate.eras). 0: before there were eras; then tx is 0 as well.';
comment on column tidegate.events.tx is 'The transaction that stored it.';
create trigger append_only before update or delete or truncate on tidegate.events
  for each statement execute function tidegate.refuse_change();

create function tidegate.index_partition(partition text) returns void language plpgsql
set search_path = pg_catalog, pg_temp as $$
begin
  execute format('create unique index if not exists %I on tidegate.%I (id, source)', partition || '_id', partition);
  execute format('create index if not exists %I on tidegate.%I (era, tx, position)', partition || '_order', partition);
  execute format('create index if not exists %I on tidegate.%I (type, era, tx, position)', partition || '_type', partition);
  execute format('create index if not exists %I on tidegate.%I (source, time)', partition || '_source', partition);
  execute format('create index if not exists %I on tidegate.%I (position)', partition || '_position', partition);
  execute format('create index if not exists %I on tidegate.%I (position) where disposition <> ''accepted''',
                 partition || '_set_aside', partition);
  execute format('create index if not exists %I on tidegate.%I using brin (time, recorded_time, stored_time) with (pages_per_range = 32, autosummarize = on)',
                 partition || '_times', partition);
end
$$;
comment on function tidegate.index_partition is 'The indexes of a partition besides its key, where they are missing.';

create function tidegate.make_partition(partition text) returns void language plpgsql
set search_path = pg_catalog, pg_temp as $$
begin
  execute format('create table tidegate.%I (like tidegate.events including defaults including constraints, primary key (gateway, epoch, sequence))',
                 partition);
  execute format('create trigger append_only before update or delete or truncate on tidegate.%I for each statement execute function tidegate.refuse_change()',
                 partition);
  perform tidegate.index_partition(partition);
end
$$;
comment on function tidegate.make_partition is 'A table that can be a partition of events.';

select tidegate.make_partition('events_other');
alter table tidegate.events attach partition tidegate.events_other default;

do $$
declare
  until timestamptz := (date_trunc('week', now() at time zone 'UTC') + interval '1 week') at time zone 'UTC';
begin
  -- What a gateway recorded whose clock is ahead: the partition ends with this week.
  alter table tidegate.events_before disable trigger append_only;
  with ahead as (delete from tidegate.events_before where recorded_time >= until returning *)
  insert into tidegate.events_other select * from ahead;
  alter table tidegate.events_before enable trigger append_only;
  execute format('alter table tidegate.events attach partition tidegate.events_before for values from (minvalue) to (%L)', until);
end
$$;

-- A large one is indexed while everything works: \`tidegate history partitions\` says what is missing, and how.
do $$
begin
  if (select count(*) from (select from tidegate.events_before limit 5000001) as first) <= 5000000 then
    perform tidegate.index_partition('events_before');
    alter table tidegate.events_before drop constraint events_before_source_id_key;
  end if;
end
$$;

create function tidegate.prepare_partitions(weeks integer default 2) returns text[] language plpgsql security definer
set search_path = pg_catalog, pg_temp as $$
declare
  monday timestamptz := date_trunc('week', now() at time zone 'UTC') at time zone 'UTC';
  starts timestamptz;
  name text;
  made text[] := '{}';
begin
  perform set_config('lock_timeout', '3s', true);
  perform pg_advisory_xact_lock(7441002873);
  for week in 0..least(weeks, 8) loop
    starts := monday + week * interval '1 week';
    name := 'events_' || to_char(starts at time zone 'UTC', 'YYYYMMDD');
    -- The first partition may reach into it, and what was brought back of an archive may be there.
    continue when exists (
      select from tidegate.partitions as p where p.partition <> 'events_other' and p.from_time <= starts and p.until_time > starts);
    perform tidegate.make_partition(name);
    -- What was recorded by a clock that was ahead is waiting there for its week.
    lock table tidegate.events_other in access exclusive mode;
    alter table tidegate.events_other disable trigger append_only;
    execute format('with due as (delete from tidegate.events_other where recorded_time >= %L and recorded_time < %L returning *) insert into tidegate.%I select * from due',
                   starts, starts + interval '1 week', name);
    alter table tidegate.events_other enable trigger append_only;
    execute format('alter table tidegate.events attach partition tidegate.%I for values from (%L) to (%L)',
                   name, starts, starts + interval '1 week');
    made := made || name;
  end loop;
  return made;
end
$$;
comment on function tidegate.prepare_partitions is
  'Makes the partitions of this week and of so many after it (8 at most), where they are missing. What writes history may call it, and can do nothing else with it.';

create view tidegate.partitions as
select c.relname::text as partition,
       case when b.bound like 'FOR VALUES FROM (MINVALUE)%' or b.bound = 'DEFAULT' then '-infinity'
            else substring(b.bound from 'FROM \\(''([^'']+)''\\)') end::timestamptz as from_time,
       case when b.bound = 'DEFAULT' then 'infinity'
            else substring(b.bound from 'TO \\(''([^'']+)''\\)') end::timestamptz as until_time,
       greatest(c.reltuples, 0)::bigint as about_events,
       pg_total_relation_size(c.oid) as bytes
from pg_inherits as i
join pg_class as c on c.oid = i.inhrelid
cross join lateral (select pg_get_expr(c.relpartbound, c.oid) as bound) as b
where i.inhparent = 'tidegate.events'::regclass;
comment on view tidegate.partitions is
  'The partitions of events: from when until when they were recorded, about how many (as of the last analysis), and bytes with indexes. events_other has what belongs to none.';

select tidegate.prepare_partitions(2);

create or replace view tidegate.dispositions as
select e.gateway, e.epoch, e.sequence, e.source, e.id, e.type, e.time, e.reason, e.disposition as recorded,
       case when a.deed is not null then 'admitted'
            when e.disposition = 'dead' and r.resolved > 0 then 'resolved'
            when e.disposition = 'dead' and r.discarded > 0 then 'discarded'
            else e.disposition end as disposition,
       coalesce(r.resolved, 0) as resolved_in, coalesce(r.discarded, 0) as discarded_in, coalesce(l.open, 0) as open_in,
       a.deed as admission, a.admitted_epoch, a.admitted_sequence
from tidegate.events as e
left join tidegate.admissions as a using (gateway, epoch, sequence)
left join lateral (
  select count(distinct consumer_group) filter (where outcome = 'resolved') as resolved,
         count(distinct consumer_group) filter (where outcome = 'discarded') as discarded
  from tidegate.resolutions as o where o.id = e.id and o.source = e.source) as r on true
left join lateral (
  select count(*) as open from tidegate.dead_letters as d
  where d.id = e.id and d.source = e.source and d.state in ('open', 'replaying')) as l on true;
`,
}
