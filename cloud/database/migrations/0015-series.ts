import type { Migration } from './migration.ts'

/** For questions about spans of time in which nothing came. */
export const series: Migration = {
  version: 15,
  name: 'series',
  sql: `
create function tidegate.bucket_gapfill(width interval, from_time timestamptz, until_time timestamptz) returns setof timestamptz
language sql stable parallel safe set search_path = pg_catalog, pg_temp as $$
  select generate_series(date_bin(width, from_time, timestamptz '2000-01-03 00:00:00+00'), until_time, width)
$$;
comment on function tidegate.bucket_gapfill is
  'The beginnings of all buckets of this width from the one that holds from_time, to until_time: aligned to Monday, 0:00 UTC, as rollups are. Join to it what there is.';

create function tidegate.locf_step(carried anyelement, value anyelement) returns anyelement
language sql immutable parallel safe as 'select coalesce($2, $1)';
create aggregate tidegate.locf(anyelement) (sfunc = tidegate.locf_step, stype = anyelement);
comment on aggregate tidegate.locf(anyelement) is
  'Last observation carried forward, over a window: the newest value so far that is not null.';
`,
}
