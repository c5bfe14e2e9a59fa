import type { Rollups } from './rollup.ts'
import type { Statements } from '../../database/statements.ts'

// Sorted, so that rival transactions lock in one order and cannot deadlock.
const mergeSql = `
insert into tidegate.rollup_buckets as r
  (device, type, field, width, bucket, count, min, max, sum, last, last_time)
select device, type, field, width, to_timestamp(bucket_ms / 1000), count, min, max, sum, last,
       to_timestamp(last_ms / 1000)
from unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::float8[], $6::bigint[], $7::float8[],
            $8::float8[], $9::float8[], $10::float8[], $11::float8[])
  as s (device, type, field, width, bucket_ms, count, min, max, sum, last, last_ms)
order by device collate "C", type collate "C", field collate "C", width collate "C", bucket_ms
on conflict (device, type, field, width, bucket) do update set
  count = r.count + excluded.count,
  min = least(r.min, excluded.min),
  max = greatest(r.max, excluded.max),
  sum = r.sum + excluded.sum,
  last = case when excluded.last_time >= r.last_time then excluded.last else r.last end,
  last_time = greatest(r.last_time, excluded.last_time)`

export function postgresRollups(statements: Statements): Rollups {
  return {
    async merge(rollups) {
      if (rollups.length === 0) return
      await statements.run('rollups-merge', mergeSql, [
        rollups.map((rollup) => rollup.device),
        rollups.map((rollup) => rollup.type),
        rollups.map((rollup) => rollup.field),
        rollups.map((rollup) => rollup.width),
        rollups.map((rollup) => rollup.bucketMs),
        rollups.map((rollup) => rollup.count),
        rollups.map((rollup) => rollup.min),
        rollups.map((rollup) => rollup.max),
        rollups.map((rollup) => rollup.sum),
        rollups.map((rollup) => rollup.last),
        rollups.map((rollup) => rollup.lastMs),
      ])
    },
  }
}
