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
set local timezone = 'UTC';
set local datestyle = 'ISO';

create table tidegate.eras (
  era            integer primary key,
  server_started timestamptz not null,
  since          timestamptz not null default clock_timestamp()
);
comment on table tidegate.eras is
  'Lives of the server, from start to stop, in which this history was written: transaction IDs count within one. Append-only.';
comment on column tidegate.eras.server_started is 'pg_postmaster_start_time() of whoever stored first.';
create trigger append_only before update or delete or truncate on tidegate.eras
  for each statement execute function tidegate.refuse_change();

create function tidegate.current_era() returns integer language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp as $$
declare
  here constant timestamptz := pg_postmaster_start_time();
  latest tidegate.eras;
begin
  select * into latest from tidegate.eras order by era desc limit 1;
  if latest.server_started is distinct from here then
    -- Seconds since 2026: what was counted on in a database that was put back since has other numbers, and is not taken for this.
    insert into tidegate.eras (era, server_started)
    values (greatest(coalesce(latest.era, 0) + 1, floor(extract(epoch from here) - 1767225600)::integer), here)
    on conflict do nothing;
    select * into strict latest from tidegate.eras order by era desc limit 1;
  end if;
  return latest.era;
end
$$;
comment on function tidegate.current_era is
  'The era of whatever is stored now. The first who stores after a start of the server (and so after a restore, a failover, a copy put back) opens one that comes after all there was.';
select tidegate.current_era();

-- What reads the table by itself, and not by its name, would go on reading the first partition only, and not say so.
create table tidegate.readers_of_events as
select c.oid as view, format('create or replace view %s %s as %s', c.oid::regclass,
                             coalesce('with (' || array_to_string(c.reloptions, ', ') || ')', ''), pg_get_viewdef(c.oid)) as definition,
       pg_has_role(c.relowner, 'usage') and c.relkind = 'v' as is_ours,
       case c.relkind when 'm' then 'materialized view ' else 'view ' end || c.oid::regclass as what
from pg_class as c
where c.oid in (select r.ev_class from pg_depend as d join pg_rewrite as r on r.oid = d.objid
                where d.classid = 'pg_rewrite'::regclass and d.refobjid = 'tidegate.events'::regclass)
union all select null, null, false, 'trigger ' || tgname from pg_trigger
  where tgrelid = 'tidegate.events'::regclass and not tgisinternal and tgname <> 'append_only'
union all select null, null, false, 'foreign key ' || conname || ' of ' || conrelid::regclass from pg_constraint
  where confrelid = 'tidegate.events'::regclass
union all select null, null, false, 'publication ' || pubname from pg_publication_rel join pg_publication as p on p.oid = prpubid
  where prrelid = 'tidegate.events'::regclass
union all select null, null, false, 'function ' || objid::regprocedure from pg_depend
  where classid = 'pg_proc'::regclass and refclassid = 'pg_class'::regclass and refobjid = 'tidegate.events'::regclass
union all select null, null, false, 'publication ' || pubname || ' (set publish_via_partition_root)' from pg_publication
  where puballtables and not pubviaroot
union all select null, null, false, 'policy ' || polname from pg_policy where polrelid = 'tidegate.events'::regclass;

do $$
declare
  others text := (select string_agg(what, ', ' order by what) from tidegate.readers_of_events where not is_ours);
begin
  if others is not null then
    raise exception 'tidegate.events is to be partitioned, and this would stay with its first partition: %', others
      using errcode = 'TG001', hint = 'drop it, take the step, and make it again (docs/DATABASE.md, Partitions)';
  end if;
end
$$;

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
  add column era integer not null default 0,
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
  era           integer not null default tidegate.current_era(),
  tx            xid8 not null default pg_current_xact_id()
) partition by range (recorded_time);
alter sequence tidegate.event_position owned by tidegate.events.position;

do $$
declare
  one record;
begin
  for one in
    select '' as columns, g.* from pg_class, aclexplode(relacl) as g where oid = 'tidegate.events_before'::regclass and g.grantee <> relowner
    union all
    select format('(%I)', attname), g.* from pg_attribute, aclexplode(attacl) as g where attrelid = 'tidegate.events_before'::regclass
  loop
    execute format('grant %s %s on tidegate.events to %s%s', one.privilege_type, one.columns,
                   case one.grantee when 0 then 'public' else one.grantee::regrole::text end,
                   case when one.is_grantable then ' with grant option' else '' end);
    if one.privilege_type = 'INSERT' then
      execute format('grant usage on sequence tidegate.event_position to %s',
                     case one.grantee when 0 then 'public' else one.grantee::regrole::text end);
    end if;
  end loop;
end
$$;
comment on table tidegate.events is
  'Every event, once, for ever: in partitions by weeks of recorded_time. Append-only. In the order of (era, tx, position), behind the horizon, nothing is skipped.';
comment on column tidegate.events.body is
  'The wire text. Of type json, not jsonb: it is kept character by character, so that the hash chain can be verified.';
comment on column tidegate.events.era is
  'The life of the server in which it was stored (tidegate.eras). 0: before there were eras; then tx is 0 as well.';
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
  until timestamptz := (date_trunc('week', now()) + interval '168 hours');
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

create function tidegate.list_partitions()
returns table (partition text, from_time timestamptz, until_time timestamptz, about_events bigint, bytes bigint) language sql stable
set search_path = pg_catalog, pg_temp set timezone = 'UTC' set datestyle = 'ISO' as $$
  select c.relname::text,
         case when b.bound like 'FOR VALUES FROM (MINVALUE)%' or b.bound = 'DEFAULT' then '-infinity'
              else substring(b.bound from 'FROM \\(''([^'']+)''\\)') end::timestamptz,
         case when b.bound = 'DEFAULT' then 'infinity'
              else substring(b.bound from 'TO \\(''([^'']+)''\\)') end::timestamptz,
         greatest(c.reltuples, 0)::bigint, pg_total_relation_size(c.oid)
  from pg_inherits as i
  join pg_class as c on c.oid = i.inhrelid
  cross join lateral (select pg_get_expr(c.relpartbound, c.oid) as bound) as b
  where i.inhparent = 'tidegate.events'::regclass
$$;
create view tidegate.partitions as select * from tidegate.list_partitions();
comment on view tidegate.partitions is
  'The partitions of events: from when until when they were recorded, about how many (as of the last analysis), and bytes with indexes. events_other has what belongs to none.';

create function tidegate.prepare_partitions(weeks integer default 2) returns text[] language plpgsql security definer
set search_path = pg_catalog, pg_temp set timezone = 'UTC' set datestyle = 'ISO' as $$
declare
  starts timestamptz;
  name text;
  made text[] := '{}';
begin
  perform pg_advisory_xact_lock(7441002873);
  -- While this waits for the partition of what belongs to none, everybody who stores waits for this.
  perform set_config('lock_timeout', '200ms', true);
  for week in 0..least(weeks, 8) loop
    starts := date_trunc('week', now()) + week * interval '168 hours';
    name := 'events_' || to_char(starts, 'YYYYMMDD');
    -- The first partition may reach into it, and what was brought back of an archive may be there.
    continue when to_regclass('tidegate.' || name) is not null or exists (
      select from tidegate.list_partitions() as p where p.partition <> 'events_other' and p.from_time <= starts and p.until_time > starts);
    perform tidegate.make_partition(name);
    -- What was recorded by a clock that was ahead is waiting there for its week.
    if exists (select from tidegate.events_other where recorded_time >= starts and recorded_time < starts + interval '168 hours') then
      lock table tidegate.events_other in access exclusive mode;
      alter table tidegate.events_other disable trigger append_only;
      execute format('with due as (delete from tidegate.events_other where recorded_time >= %L and recorded_time < %L returning *) insert into tidegate.%I select * from due',
                     starts, starts + interval '168 hours', name);
      alter table tidegate.events_other enable trigger append_only;
    end if;
    execute format('alter table tidegate.events attach partition tidegate.%I for values from (%L) to (%L)',
                   name, starts, starts + interval '168 hours');
    made := made || name;
  end loop;
  return made;
end
$$;
comment on function tidegate.prepare_partitions is
  'Makes the partitions of this week and of so many after it (8 at most), where they are missing. What writes history may call it, and can do nothing else with it.';

create function tidegate.analyze_events(partition text default null) returns void language plpgsql security definer
set search_path = pg_catalog, pg_temp as $$
begin
  if partition is null then
    execute 'analyze tidegate.events (gateway, source, type, disposition, time, recorded_time)';
  elsif exists (select from tidegate.list_partitions() as p where p.partition = analyze_events.partition) then
    execute format('analyze tidegate.%I', partition);
  end if;
end
$$;
comment on function tidegate.analyze_events is
  'Statistics of a partition; without one, over all partitions together. PostgreSQL does not gather these by itself. One transaction each: readers wait for it.';

select tidegate.prepare_partitions(2);

do $$
declare
  one text;
begin
  for one in select definition from tidegate.readers_of_events loop
    execute one;
  end loop;
exception when invalid_table_definition or feature_not_supported then
  raise exception 'tidegate.events is to be partitioned, and a view of it cannot be made anew: %, in: %', sqlerrm, one
    using errcode = 'TG001', hint = 'drop it, take the step, and make it again (docs/DATABASE.md, Partitions)';
end
$$;
drop table tidegate.readers_of_events;
`,
}
