import type { Migration } from './migration.ts'

/**
 * The inbox by weeks (G4): one table a week, which is forgotten by dropping it. Deleting rows does not keep up beyond some 30 GB.
 *
 * **A claim** is 24 bytes: the first 16 of SHA-256 over source, newline and ID (and the generation of a replay), a group's number, and
 * when it was made. It goes into the week in which it is made, by this server's clock, and is looked for in every week that is
 * kept: a repeat has another `recordedtime` if it was numbered twice, and none that can be relied on if its gateway has no clock.
 *
 * **Tables, not partitions**: they inherit. Dropping a partition locks the parent, and so waits for every handler that is at work, with
 * every claim behind it; dropping one of these locks that table only, and for a day nobody has looked into it (`forgotten_at`).
 *
 * **What was claimed before** stays in \`tidegate.inbox\`, where each claim looks too. A cloud of before claims nothing there any more: it
 * would not see what is claimed here. It waits, as for a database that is away. Once all of it is too old it is forgotten as a week is.
 */
export const inboxWeeks: Migration = {
  version: 18,
  name: 'inbox-weeks',
  sql: `
set local timezone = 'UTC';
set local datestyle = 'ISO';
-- Whoever has claimed there has committed then, and is seen.
lock table tidegate.inbox in share row exclusive mode;

create table tidegate.inbox_groups (
  number smallint generated always as identity primary key,
  name   text collate "C" not null unique
);
comment on table tidegate.inbox_groups is 'The number that each consumer group has in the inbox. Made before its first claim.';

create function tidegate.inbox_group(consumer_group text) returns smallint language plpgsql
set search_path = pg_catalog, pg_temp as $$
declare
  number smallint;
begin
  select g.number into number from tidegate.inbox_groups as g where g.name = consumer_group;
  if number is null then
    insert into tidegate.inbox_groups as g (name) values (consumer_group) on conflict do nothing returning g.number into number;
    if number is null then
      select g.number into strict number from tidegate.inbox_groups as g where g.name = consumer_group;
    end if;
  end if;
  return number;
end
$$;
comment on function tidegate.inbox_group is
  'The number of a group, which it is given if it has none. Ask in a transaction of its own: one that fails uses a number up, of 32767.';

create table tidegate.inbox_claims (
  key            uuid not null,
  at_ms          integer not null,
  consumer_group smallint not null,
  constraint inbox_claims_in_weeks check (false) no inherit
);
comment on table tidegate.inbox_claims is
  'One row per event and group, written in the same transaction as its effects; in one table a week, which is forgotten as a whole.';
comment on column tidegate.inbox_claims.key is 'tidegate.inbox_key(source, id).';
comment on column tidegate.inbox_claims.at_ms is 'Milliseconds after the beginning of the week.';
comment on column tidegate.inbox_claims.consumer_group is 'tidegate.inbox_groups.number.';

create table tidegate.inbox_weeks (
  name         text collate "C" primary key,
  from_time    timestamptz not null,
  until_time   timestamptz not null,
  forgotten_at timestamptz
);
comment on table tidegate.inbox_weeks is
  'The tables of the inbox: what was processed when. Nobody looks any more into one that is forgotten; it is dropped a day later. "inbox" is what was claimed before there were weeks.';

create function tidegate.inbox_key(source text, id text, generation text default '') returns uuid language sql immutable parallel safe
set search_path = pg_catalog, pg_temp as $$
  select encode(substring(sha256(convert_to(source || E'\\n' || id || case generation when '' then '' else E'\\n' || generation end, 'UTF8')) for 16), 'hex')::uuid
$$;
comment on function tidegate.inbox_key is
  'What an event is claimed by: the first 16 bytes of SHA-256 over source, newline, ID; of a replay with a generation, newline and that.';

-- What the parent is granted holds for the weeks, which are written to by their names.
create function tidegate.share_inbox() returns void language plpgsql
set search_path = pg_catalog, pg_temp as $$
declare
  week record;
  one record;
begin
  for week in select c.oid::regclass as name, relacl from tidegate.inbox_weeks as w
              join pg_class as c on relnamespace = 'tidegate'::regnamespace and relname::text = w.name loop
    for one in select g.grantee, g.privilege_type, g.is_grantable from pg_class, aclexplode(relacl) as g
               where oid = 'tidegate.inbox_claims'::regclass and g.grantee <> relowner
               except select w.grantee, w.privilege_type, w.is_grantable from aclexplode(week.relacl) as w loop
      execute format('grant %s on %s to %s%s', one.privilege_type, week.name,
                     case one.grantee when 0 then 'public' else quote_ident(pg_get_userbyid(one.grantee)) end,
                     case when one.is_grantable then ' with grant option' else '' end);
    end loop;
  end loop;
end
$$;
comment on function tidegate.share_inbox is 'Gives whoever may do something with inbox_claims the same with each table that inbox_weeks lists.';

create function tidegate.prepare_inbox(weeks integer default 2) returns text[] language plpgsql security definer
set search_path = pg_catalog, pg_temp set timezone = 'UTC' set datestyle = 'ISO' as $$
declare
  starts timestamptz;
  week_table text;
  made text[] := '{}';
begin
  perform pg_advisory_xact_lock(7441002874);
  -- By a clock that was ahead.
  update tidegate.inbox_weeks as w set forgotten_at = null where w.forgotten_at is not null and w.until_time > now();
  for week in 0..least(weeks, 8) loop
    starts := date_trunc('week', now()) + week * interval '168 hours';
    week_table := 'inbox_' || to_char(starts, 'YYYYMMDD');
    continue when exists (select from tidegate.inbox_weeks as w where w.name = week_table);
    execute format('create table tidegate.%I (primary key (key, consumer_group)) inherits (tidegate.inbox_claims)', week_table);
    insert into tidegate.inbox_weeks (name, from_time, until_time) values (week_table, starts, starts + interval '168 hours');
    made := made || week_table;
  end loop;
  if made <> '{}' then
    perform tidegate.share_inbox();
  end if;
  return made;
end
$$;
comment on function tidegate.prepare_inbox is
  'Makes the tables of this week and of so many after it (8 at most), where they are missing, and has them remembered where they were forgotten. What claims may call it, and can do nothing else with it.';

-- What is left of the inbox of before; of nothing, once that is dropped.
create view tidegate.inbox_former as select consumer_group, source, id, processed_at from tidegate.inbox;
comment on view tidegate.inbox_former is 'What was claimed before there were weeks.';

create function tidegate.forget_inbox(retention interval) returns text[] language plpgsql security definer
set search_path = pg_catalog, pg_temp set timezone = 'UTC' set datestyle = 'ISO' as $$
declare
  kept constant interval := greatest(retention, interval '1 hour');
  week record;
  dropped text[] := '{}';
begin
  if retention is null then
    raise exception 'how long is the inbox to remember?' using errcode = 'null_value_not_allowed', hint = 'inbox.retention, as an interval';
  end if;
  perform pg_advisory_xact_lock(7441002874);
  -- By a clock that was ahead, or a retention that was shorter.
  update tidegate.inbox_weeks as w set forgotten_at = null
    where w.forgotten_at > now() or w.forgotten_at is not null and w.until_time + kept >= now();
  update tidegate.inbox_weeks as w set forgotten_at = now()
    where w.forgotten_at is null and w.until_time + kept < now();
  -- Whoever looks into it began to before it was forgotten. While this waits for them, whoever asks for the view waits for this.
  perform set_config('lock_timeout', '500ms', true);
  for week in select * from tidegate.inbox_weeks as w where w.forgotten_at < now() - interval '1 day' order by w.from_time loop
    begin
      if week.name = 'inbox' then
        create or replace view tidegate.inbox_former as
          select null::text collate "C" as consumer_group, null::text collate "C" as source, null::text collate "C" as id, null::timestamptz as processed_at
          where false;
      end if;
      execute format('drop table tidegate.%I', week.name);
      delete from tidegate.inbox_weeks as w where w.name = week.name;
      dropped := dropped || week.name;
    exception when lock_not_available or deadlock_detected then
      -- A dump or a long query reads it: the next time. The others go.
    end;
  end loop;
  return dropped;
end
$$;
comment on function tidegate.forget_inbox is
  'Forgets the weeks whose last claim is older than the retention (one hour at least), and drops those that were forgotten a day ago. What claims may call it, and can drop nothing else with it.';

create function tidegate.processed(source text, id text) returns table (consumer_group text, processed_at timestamptz) language sql stable
set search_path = pg_catalog, pg_temp as $$
  select consumer_group, min(processed_at) from (
    select g.name as consumer_group, w.from_time + c.at_ms * interval '1 millisecond' as processed_at
    from tidegate.inbox_claims as c join tidegate.inbox_groups as g on g.number = c.consumer_group
    join pg_class as t on t.oid = c.tableoid join tidegate.inbox_weeks as w on w.name = t.relname::text
    where c.key = (select tidegate.inbox_key($1, $2))
    union all
    select f.consumer_group, f.processed_at from tidegate.inbox_groups as g
    cross join lateral (
      select * from tidegate.inbox_former as i
      where i.consumer_group = g.name and i.source = $1 and i.id = $2 offset 0) as f) as one
  group by consumer_group
$$;
comment on function tidegate.processed is 'Which groups have processed an event, and when, as far as the inbox remembers.';

create function tidegate.forget_processed(consumer_group text) returns bigint language plpgsql
set search_path = pg_catalog, pg_temp as $$
declare
  forgotten bigint;
  more bigint := 0;
begin
  delete from tidegate.inbox_claims as c
    where c.consumer_group = (select g.number from tidegate.inbox_groups as g where g.name = $1);
  get diagnostics forgotten = row_count;
  if to_regclass('tidegate.inbox') is not null then
    execute 'delete from tidegate.inbox as i where i.consumer_group = $1' using consumer_group;
    get diagnostics more = row_count;
  end if;
  return forgotten + more;
end
$$;
comment on function tidegate.forget_processed is
  'Forgets what a group has processed, also before there were weeks: whatever is delivered again has its effect again. Returns how many claims that were.';


create function tidegate.refuse_claim() returns trigger language plpgsql as $$
begin
  raise exception 'a later version of Tidegate has taken over: what is claimed here it would not see'
    using errcode = 'cannot_connect_now', hint = 'stop this version: docs/OPERATIONS.md, Upgrade';
end
$$;
create trigger by_weeks before insert on tidegate.inbox for each statement execute function tidegate.refuse_claim();
comment on table tidegate.inbox is
  'What was claimed before there were weeks (inbox_claims). Goes once all of it is older than inbox.retention; a day after the step if it was empty.';
-- Nobody looks into an empty one. It stays for a day, so that a cloud of before that is still at work is told why it has to wait.
insert into tidegate.inbox_weeks (name, from_time, until_time, forgotten_at)
  select 'inbox', '-infinity', case when newest is null then '-infinity' else greatest(clock_timestamp(), newest) end,
         case when newest is null then now() end
  from (select max(processed_at) as newest from tidegate.inbox) as i;
with recursive known as (
  (select consumer_group from tidegate.inbox order by consumer_group limit 1)
  union all
  select (select i.consumer_group from tidegate.inbox as i where i.consumer_group > known.consumer_group order by i.consumer_group limit 1)
  from known where known.consumer_group is not null)
insert into tidegate.inbox_groups (name) select consumer_group from known where consumer_group is not null;

select tidegate.prepare_inbox(2);
`,
}
