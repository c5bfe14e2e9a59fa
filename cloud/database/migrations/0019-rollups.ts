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
  one        boolean primary key default true constraint former_rollups_one_check check (one),
  device     text collate "C",
  type       text collate "C",
  field      text collate "C",
  width      text collate "C",
  bucket     timestamptz,
  compared   bigint not null default 0,
  let_go     bigint not null default 0,
  done_at    timestamptz,
  keep_until timestamptz,
  kept       boolean not null default true,
  queues_gone_at timestamptz
);
comment on table tidegate.former_rollups is
  'A row where a consumer group that was built in has counted: how far tidegate.rollup_buckets has been compared with the projection (up to this bucket), and what became of its queues.';
comment on column tidegate.former_rollups.keep_until is 'Until then tidegate.covered_rollups is kept, for who goes back; null: until 30 days after done_at.';
comment on column tidegate.former_rollups.queues_gone_at is
  'When the queues of the group rollups were let go. From then on queues of that name are somebody else''s.';
insert into tidegate.former_rollups (one) select true where exists (select from tidegate.rollup_buckets);

create table tidegate.covered_rollups (like tidegate.rollup_buckets);
comment on table tidegate.covered_rollups is
  'What was in tidegate.rollup_buckets and the projection has counted as well: shown to nobody, kept for a while for who goes back.';

create or replace view tidegate.rollups as
  select device, type, field, width, bucket, count, min, max, sum,
    case when abs(sum) < 1e-290 then 0 else sum / count end as mean, last, last_time
  from tidegate.rollup_buckets;

-- A view of the owner's upon the table that the running cloud has made, and not upon a view of the cloud's: in that would run, with the
-- rights of whoever reads, what somebody with the cloud's password has put there.
create function tidegate.show_rollups(of_version integer) returns void language plpgsql security definer
set search_path = pg_catalog, pg_temp as $$
declare
  place text := tidegate.projection_schema('rollups', of_version);
  target oid;
  with_former boolean;
  fresh text;
begin
  select c.oid into target from pg_class as c
  where c.relnamespace = to_regnamespace(place) and c.relname = 'buckets' and c.relkind = 'r'
    and c.relowner in (select oid from pg_roles where rolname in ('tidegate_writer', current_user, session_user))
    and tidegate.is_projection_schema(place)
    and not (c.relrowsecurity or c.relhasrules or c.relhassubclass or c.relispartition)
    and (select string_agg(a.attname || ' ' || format_type(a.atttypid, null), ', ' order by a.attnum)
         from pg_attribute as a where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped)
      = 'device text, type text, field text, width text, bucket timestamp with time zone, count bigint, min double precision, '
        || 'max double precision, sum numeric, last double precision, last_time timestamp with time zone';
  if target is null then
    raise exception '%.buckets is not the table that rollups are counted in', place using errcode = '42809';
  end if;
  if not has_table_privilege(target, 'select') then
    raise exception 'the owner of tidegate.rollups may not read %.buckets', place using errcode = '42501';
  end if;
  with_former := exists (select from tidegate.former_rollups) and exists (select from tidegate.rollup_buckets);
  if exists (
    select from pg_rewrite as r join pg_depend as d on d.classid = 'pg_rewrite'::regclass and d.objid = r.oid
    where r.ev_class = 'tidegate.rollups'::regclass
    having bool_or(d.refobjid = target) and bool_or(d.refobjid = 'tidegate.rollup_buckets'::regclass) = with_former) then
    return;
  end if;
  fresh := format(
    'select device, type, field, width, bucket, count, min, max, '
    || 'case when abs(sum) < 1e-290 then 0 else sum end::double precision as sum, '
    || 'case when abs(sum) < 1e-290 then 0 else sum / count end::double precision as mean, last, last_time from %I.buckets as p', place);
  if with_former then
    -- Of each bucket what has counted more; where both have as many, the projection.
    fresh := fresh || format(
      ' where not exists (select from tidegate.rollup_buckets as b where b.device = p.device and b.type = p.type and b.field = p.field '
      || 'and b.width = p.width and b.bucket = p.bucket and b.count > p.count) '
      || 'union all select device, type, field, width, bucket, count, min, max, sum, '
      || 'case when abs(sum) < 1e-290 then 0 else sum / count end as mean, last, last_time from tidegate.rollup_buckets as b '
      || 'where not exists (select from %I.buckets as p where p.device = b.device and p.type = b.type and p.field = b.field '
      || 'and p.width = b.width and p.bucket = b.bucket and p.count >= b.count)', place);
  end if;
  execute 'create or replace view tidegate.rollups as ' || fresh;
end
$$;
comment on function tidegate.show_rollups is
  'Has tidegate.rollups show a version of the projection, beside what was counted before it as long as there is such, and can do nothing else.';
revoke execute on function tidegate.show_rollups from public;

create view tidegate.series as
  select device, type, field, bucket, count, min, max, sum, mean, last, last_time from tidegate.rollups where width = 'minute';
comment on view tidegate.series is 'The minutes of tidegate.rollups: a row for each minute of a field in which there was a number.';

create function tidegate.series(of_device text, of_type text, of_field text, step interval, from_time timestamptz, until_time timestamptz)
returns table (bucket timestamptz, count numeric, min double precision, max double precision, mean double precision, last double precision)
language sql stable parallel safe set search_path = pg_catalog, pg_temp as $$
  select date_bin(step, r.bucket, timestamptz '2000-01-03 00:00:00+00') as bucket, sum(r.count), min(r.min), max(r.max),
    -- Of stored sums of before some are too small, or too large, to be added up and divided.
    case when abs(sum(least(greatest(r.sum, -1e300), 1e300))) < 1e-290 then 0
      else sum(least(greatest(r.sum, -1e300), 1e300)) / sum(r.count)::double precision end,
    (array_agg(r.last order by r.last_time desc))[1]
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
