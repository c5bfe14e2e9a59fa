import type { Migration } from './migration.ts'

/**
 * Rollups are a projection. What was counted before stays in the table of before, and is shown until the projection has counted as much:
 * readers of `tidegate.rollups` see no gap, and nothing goes that history has no more.
 */
export const rollupsOfHistory: Migration = {
  version: 19,
  name: 'rollups-of-history',
  sql: `
comment on table tidegate.rollup_buckets is
  'What a consumer group counted before rollups were a projection; what the projection has counted as well is let go.';

create table tidegate.former_rollups (
  one      boolean primary key default true constraint former_rollups_one_check check (one),
  device   text collate "C",
  type     text collate "C",
  field    text collate "C",
  width    text collate "C",
  bucket   timestamptz,
  compared bigint not null default 0,
  let_go   bigint not null default 0,
  done_at  timestamptz
);
comment on table tidegate.former_rollups is
  'How far tidegate.rollup_buckets has been compared with the projection: up to this bucket. What was let go had been counted there as well.';
insert into tidegate.former_rollups (one) select true where exists (select from tidegate.rollup_buckets);

-- A view of the owner's, upon one that the running cloud makes and switches: that one must be there first.
create function tidegate.show_rollups() returns void language plpgsql security definer
set search_path = pg_catalog, pg_temp as $$
begin
  if exists (
    select from pg_rewrite as r join pg_depend as d on d.classid = 'pg_rewrite'::regclass and d.objid = r.oid
    where r.ev_class = 'tidegate.rollups'::regclass and d.refobjid = to_regclass('projection.rollups')) then
    return;
  end if;
  if not coalesce(has_table_privilege(to_regclass('projection.rollups'), 'select'), false) then
    raise exception 'the owner of tidegate.rollups may not read projection.rollups' using errcode = '42501';
  end if;
  create or replace view tidegate.rollups as
    select device, type, field, width, bucket, count, min, max, sum, mean, last, last_time
    from projection.rollups as p
    where not exists (
      select from tidegate.rollup_buckets as b
      where b.device = p.device and b.type = p.type and b.field = p.field and b.width = p.width and b.bucket = p.bucket and b.count > p.count)
    union all
    select device, type, field, width, bucket, count, min, max, sum, sum / count as mean, last, last_time
    from tidegate.rollup_buckets as b
    where not exists (
      select from projection.rollups as p
      where p.device = b.device and p.type = b.type and p.field = b.field and p.width = b.width and p.bucket = b.bucket and p.count >= b.count);
end
$$;
comment on function tidegate.show_rollups is
  'Has tidegate.rollups show the projection beside what was counted before it, and can do nothing else.';
revoke execute on function tidegate.show_rollups from public;

create view tidegate.series as
  select device, type, field, bucket, count, min, max, sum, mean, last, last_time from tidegate.rollups where width = 'minute';
comment on view tidegate.series is 'The minutes of tidegate.rollups: a row for each minute of a field in which there was a number.';

create function tidegate.series(of_device text, of_type text, of_field text, step interval, from_time timestamptz, until_time timestamptz)
returns table (bucket timestamptz, count numeric, min double precision, max double precision, mean double precision, last double precision)
language sql stable parallel safe set search_path = pg_catalog, pg_temp as $$
  select date_bin(step, r.bucket, timestamptz '2000-01-03 00:00:00+00') as bucket, sum(r.count), min(r.min), max(r.max),
    sum(r.sum) / sum(r.count)::double precision, (array_agg(r.last order by r.last_time desc))[1]
  from tidegate.rollups as r
  where r.device = of_device and r.type = of_type and r.field = of_field
    and r.width = case when extract(epoch from step)::numeric % 3600 = 0 then 'hour' else 'minute' end
    and r.bucket >= date_bin(step, from_time, timestamptz '2000-01-03 00:00:00+00') and r.bucket < until_time
  group by 1 order by 1
$$;
comment on function tidegate.series is
  'A field of a device in steps of whole minutes, or of hours where they are whole ones: what a panel draws. Steps are aligned to Monday, 0:00 UTC.';
`,
}
