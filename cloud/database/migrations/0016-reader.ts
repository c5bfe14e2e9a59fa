import type { Migration } from './migration.ts'

/**
 * Reading without skipping (G4): in the order of `(era, tx, position)`, and only what is behind the horizon of the statement that reads.
 * Everything is one statement: the functions are stable, so that all in them sees what the statement sees that calls them.
 */
export const reader: Migration = {
  version: 16,
  name: 'reader',
  sql: `
create function tidegate.readable_before(out end_era integer, out end_tx xid8) language sql stable security definer
set search_path = pg_catalog, pg_temp as $$
  -- Of a former life nothing is under way any more. On a standby the newest life is that of its primary.
  select case when is_alive then era else era + 1 end,
         case when is_alive then pg_snapshot_xmin(pg_current_snapshot()) else '0' end
  from (select coalesce(n.era, 0) as era, pg_is_in_recovery() or coalesce(n.server_started = pg_postmaster_start_time(), false) as is_alive
        from (select) as one left join (select * from tidegate.eras order by era desc limit 1) as n on true) as newest
$$;
comment on function tidegate.readable_before is
  'Whatever is stored from now on, or was not committed yet, has this era and transaction, or comes after them.';

create function tidegate.check_cursor(cursor text, out era integer, out tx xid8, out "position" bigint) language plpgsql stable security definer
set search_path = pg_catalog, pg_temp as $$
#variable_conflict use_variable
declare
  parts constant text[] := string_to_array(coalesce(nullif(cursor, ''), '0.0.0'), '.');
  newest tidegate.eras;
begin
  if cursor <> '' and (cursor !~ '^[0-9]{1,10}\\.[0-9]{1,19}\\.[0-9]{1,18}$' or parts[1]::bigint > 2147483646) then
    raise exception using errcode = 'TG002', message = 'CURSOR_INVALID: this is no cursor of history',
      hint = 'take the cursor of the last row that you have, as it is; the beginning is an empty text';
  end if;
  era := parts[1];
  tx := parts[2];
  "position" := parts[3];
  -- A standby may be behind what its primary has told.
  if era = 0 or pg_is_in_recovery() then
    return;
  end if;
  select * into newest from tidegate.eras order by eras.era desc limit 1;
  if not exists (select from tidegate.eras as e where e.era = check_cursor.era)
    or (era = newest.era and newest.server_started = pg_postmaster_start_time() and tx >= pg_snapshot_xmax(pg_current_snapshot())) then
    raise exception using errcode = 'TG003', message = 'CURSOR_AHEAD: history has never been where this cursor is',
      hint = 'the database was put back to before: begin at a cursor from before that, or at an empty text';
  end if;
end
$$;
comment on function tidegate.check_cursor is
  'The parts of a cursor. Refused with TG002 when it is none, and with TG003 when it is of a history that was put back.';

create function tidegate.horizon() returns text language plpgsql stable
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
set enable_sort = off
set max_parallel_workers_per_gather = 0
set jit = off
as $$
declare
  last text;
  end_era integer;
  end_tx xid8;
begin
  select b.end_era, b.end_tx into end_era, end_tx from tidegate.readable_before() as b;
  select e.era || '.' || e.tx || '.' || e.position into last
  from tidegate.events as e
  where (e.era, e.tx, e.position) < (end_era, end_tx, 0)
  order by e.era desc, e.tx desc, e.position desc limit 1;
  return coalesce(last, '');
end
$$;
comment on function tidegate.horizon is
  'The cursor of the last event that can be read by now; empty: there is none. Never beyond it: the IDs of transactions that stored nothing may come again after a crash.';

create function tidegate.read_events(after text default '', types text[] default null, max integer default 1000)
returns table (cursor text, "position" bigint, stored_time timestamptz, recorded_time timestamptz, "time" timestamptz,
  gateway text, epoch text, sequence bigint, source text, id text, type text, subject text, dataschema text,
  disposition text, reason text, body json)
language plpgsql stable
set search_path = pg_catalog, pg_temp
-- One plan for every page, of every size: the indexes of the order, merged. With costs alone a table that was analysed long ago is sorted.
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
set enable_sort = off
set max_parallel_workers_per_gather = 0
set jit = off
as $$
#variable_conflict use_column
declare
  start_era integer;
  start_tx xid8;
  start_position bigint;
  end_era integer;
  end_tx xid8;
  rows_max integer := least(greatest(coalesce(max, 1000), 1), 10000);
begin
  select c.era, c.tx, c.position into start_era, start_tx, start_position from tidegate.check_cursor(after) as c;
  select b.end_era, b.end_tx into end_era, end_tx from tidegate.readable_before() as b;
  if types is null then
    return query
    select e.era || '.' || e.tx || '.' || e.position, e.position, e.stored_time, e.recorded_time, e.time,
      e.gateway, e.epoch, e.sequence, e.source, e.id, e.type, e.subject, e.dataschema, e.disposition, e.reason, e.body
    from tidegate.events as e
    where (e.era, e.tx, e.position) > (start_era, start_tx, start_position)
      and (e.era, e.tx, e.position) < (end_era, end_tx, 0)
    order by e.era, e.tx, e.position limit rows_max;
  else
    return query
    select e.era || '.' || e.tx || '.' || e.position, e.position, e.stored_time, e.recorded_time, e.time,
      e.gateway, e.epoch, e.sequence, e.source, e.id, e.type, e.subject, e.dataschema, e.disposition, e.reason, e.body
    from (select distinct one from unnest(types) as one) as wanted
    cross join lateral (
      select * from tidegate.events as t
      where t.type = wanted.one
        and (t.era, t.tx, t.position) > (start_era, start_tx, start_position)
        and (t.era, t.tx, t.position) < (end_era, end_tx, 0)
      order by t.era, t.tx, t.position limit rows_max) as e
    order by e.era, e.tx, e.position limit rows_max;
  end if;
end
$$;
comment on function tidegate.read_events is
  'The next events after a cursor (an empty text: from the beginning), in an order in which none is ever skipped: go on after the cursor of the last row. 10000 at most. docs/CONSUMERS.md, Reading history.';

create function tidegate.claimed_id(body json) returns text language plpgsql immutable parallel safe
set search_path = pg_catalog, pg_temp as $$
begin
  return left(body -> 'data' ->> 'id', 128);
exception when others then
  -- A text may hold what is no text to PostgreSQL: U+0000.
  return null;
end
$$;
create function tidegate.noted_id(body json) returns text language plpgsql immutable parallel safe
set search_path = pg_catalog, pg_temp as $$
begin
  return left(body ->> 'id', 128);
exception when others then
  return null;
end
$$;
comment on function tidegate.noted_id is 'The ID of an event, if it can be read: its first 128 characters, so that no text is too long for an index.';
comment on function tidegate.claimed_id is 'The ID that a device gave a reading which its gateway has rejected, if it can be read: its first 128 characters.';

create or replace function tidegate.index_partition(partition text) returns void language plpgsql
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
  execute format('create index if not exists %I on tidegate.%I (tidegate.claimed_id(body)) where type = ''dev.tidegate.rejected''',
                 partition || '_claimed', partition);
end
$$;

do $$
declare name text;
begin
  -- Where the owner has put off the indexes of a large one, this comes with them.
  for name in select partition from tidegate.partitions where to_regclass('tidegate.' || quote_ident(partition || '_order')) is not null loop
    perform tidegate.index_partition(name);
  end loop;
end
$$;

-- Of readings that came twice, or that another has the name of: the note has their text, and nothing else has.
create index ledger_notes_claimed on tidegate.ledger_notes (tidegate.noted_id(body)) where body is not null;
`,
}
