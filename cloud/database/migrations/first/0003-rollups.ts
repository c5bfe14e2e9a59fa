/** Minute and hour rollups of numeric fields. */
export const rollups = {
  version: 3,
  name: 'rollups',
  sql: `
create table tidegate.rollup_buckets (
  device    text collate "C" not null,
  type      text collate "C" not null,
  field     text collate "C" not null,
  width     text collate "C" not null check (width in ('minute', 'hour')),
  bucket    timestamptz not null,
  count     bigint not null,
  min       double precision not null,
  max       double precision not null,
  sum       double precision not null,
  last      double precision not null,
  last_time timestamptz not null,
  primary key (device, type, field, width, bucket)
) with (fillfactor = 80);
create view tidegate.rollups as
  select device, type, field, width, bucket, count, min, max, sum, sum / count as mean, last, last_time
  from tidegate.rollup_buckets;
comment on view tidegate.rollups is 'Per device, type, numeric field and minute or hour of event time.';
`,
}
