import type { Event } from '../../../src/contract/event.ts'
import type { Statements } from '../../../cloud/database/statements.ts'
import { type Consumer, makeConsumer } from '../../../cloud/pipeline/definition.ts'
import { eventTimeMs } from '../../../cloud/projections/built-in/event-time.ts'
import { numericFields } from '../../../cloud/projections/built-in/numeric-fields.ts'

// A consumer that takes batches and adds up: what has an effect twice, or not at all, shows in its counts.

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

/** The rollups that are kept, within one transaction.  */
export interface Rollups {
  /** Merges into what is there. Keys must be distinct within a call. */
  merge(rollups: readonly Rollup[]): Promise<void>
}

const widthMs: Readonly<Record<BucketWidth, number>> = { minute: 60_000, hour: 3_600_000 }
const widths: readonly BucketWidth[] = ['minute', 'hour']

/** Count, min, max, sum and last of every numeric field, per device, type and minute or hour of event time. */
export function rollupsConsumer(rollupsIn: (transaction: Statements) => Rollups): Consumer {
  return makeConsumer(
    { group: 'rollups', types: ['#'] },
    {
      kind: 'batch',
      handleBatch: (entries, { tx }) => rollupsIn(tx).merge(aggregate(entries.map(({ event }) => event))),
    },
  )
}

/** One rollup per key, however many events went into it: one upsert per batch. */
export function aggregate(events: readonly Event[]): Rollup[] {
  const rollups = new Map<string, Rollup>()
  for (const event of events) {
    const timeMs = eventTimeMs(event)
    for (const [field, value] of numericFields(event.data)) {
      for (const width of widths) {
        const rollup: Rollup = {
          device: event.partitionkey,
          type: event.type,
          field,
          width,
          bucketMs: Math.floor(timeMs / widthMs[width]) * widthMs[width],
          count: 1,
          min: value,
          max: value,
          sum: value,
          last: value,
          lastMs: timeMs,
        }
        const key = rollupKey(rollup)
        const known = rollups.get(key)
        if (known) mergeRollup(known, rollup)
        else rollups.set(key, rollup)
      }
    }
  }
  return [...rollups.values()]
}
