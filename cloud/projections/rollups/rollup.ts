export type BucketWidth = 'minute' | 'hour'

/** What a numeric field did in a bucket of time. The mean is derived: sum / count. */
export interface Rollup {
  device: string
  type: string
  /** Dotted path inside `data`; `value` when the data is itself a number. */
  field: string
  width: BucketWidth
  /** Start of the bucket, ms since the Unix epoch. */
  bucketMs: number
  count: number
  min: number
  max: number
  sum: number
  /** The value with the latest event time, and that time in ms since the Unix epoch. */
  last: number
  lastMs: number
}

/** Rollups with the same key are about the same thing. The field comes last: it alone may hold a newline. */
export function rollupKey(rollup: Pick<Rollup, 'device' | 'type' | 'field' | 'width' | 'bucketMs'>): string {
  return `${rollup.device}\n${rollup.type}\n${rollup.width}\n${rollup.bucketMs}\n${rollup.field}`
}

/** Adds what `more` saw to `into`. On equal times the later arrival is last. */
export function mergeRollup(into: Rollup, more: Rollup): void {
  into.count += more.count
  into.min = Math.min(into.min, more.min)
  into.max = Math.max(into.max, more.max)
  into.sum += more.sum
  if (more.lastMs >= into.lastMs) {
    into.last = more.last
    into.lastMs = more.lastMs
  }
}

/** The rollups that are kept, within one transaction. Port; the adapter is rollups-postgres.ts. */
export interface Rollups {
  /** Merges into what is there. Keys must be distinct within a call. */
  merge(rollups: readonly Rollup[]): Promise<void>
}
