import type { Migration } from './migration.ts'

/**
 * Reading without skipping (G4): in the order of `(era, tx, position)`, and only what is behind the horizon of the statement that reads.
 * Everything is one statement: the functions are stable, so that all in them sees what the statement sees that calls them.
 */
export const reader: Migration = {
  version: 16,
  name: 'reader',
  sql: `
create function tidegate.latest_era() returns smallint language sql stable security definer
set search_path = pg_catalog, pg_temp as 'select max(era) from tidegate.eras';
comment on function tidegate.latest_era is
  'The newest era that something was stored in. Whatever opens another comes after all there is, so that readers need not know of it before.';

create function tidegate.horizon() returns text language sql stable security definer
set search_path = pg_catalog, pg_temp as
$$ select tidegate.latest_era() || '.' || pg_snapshot_xmin(pg_current_snapshot()) || '.0' $$;
comment on function tidegate.horizon is
  'As far as everything is there that will ever be: a cursor. Whatever is stored from now on, or was not committed yet, comes after it.';

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
  start text[] := string_to_array(coalesce(nullif(after, ''), '0.0.0'), '.');
  start_era smallint;
  start_tx xid8;
  start_position bigint;
  end_era smallint := tidegate.latest_era();
  end_tx xid8 := pg_snapshot_xmin(pg_current_snapshot());
  rows_max integer := least(greatest(coalesce(max, 1000), 1), 10000);
begin
  if after <> '' and after !~ '^[0-9]{1,5}\\.[0-9]{1,19}\\.[0-9]{1,18}$' then
    raise exception using errcode = 'invalid_parameter_value', message = 'after is no cursor',
      hint = 'take the cursor of the last row that you have, as it is; the beginning is an empty text';
  end if;
  start_era := start[1];
  start_tx := start[2];
  start_position := start[3];
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
  return left(body -> 'data' ->> 'id', 1000);
exception when others then
  -- A text may hold what is no text to PostgreSQL: U+0000.
  return null;
end
$$;
create function tidegate.noted_id(body json) returns text language plpgsql immutable parallel safe
set search_path = pg_catalog, pg_temp as $$
begin
  return left(body ->> 'id', 1000);
exception when others then
  return null;
end
$$;
comment on function tidegate.noted_id is 'The ID of an event, if it can be read.';
comment on function tidegate.claimed_id is 'The ID that a device gave a reading which its gateway has rejected, if it can be read.';

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
