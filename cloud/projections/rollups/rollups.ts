import type { Event } from '../../../src/contract/event.ts'
import type { Statements } from '../../database/statements.ts'
import { type Consumer, makeConsumer } from '../../pipeline/definition.ts'
import { type BucketWidth, mergeRollup, type Rollup, rollupKey, type Rollups } from './rollup.ts'
import { numericFields } from './numeric-fields.ts'

const widthMs: Readonly<Record<BucketWidth, number>> = { minute: 60_000, hour: 3_600_000 }
const widths: readonly BucketWidth[] = ['minute', 'hour']

/**
 * Count, min, max, sum and last of every numeric field, per device, type and minute or hour of event time. They come out the same in any
 * order: no device is parked for them.
 */
export function rollupsConsumer(rollupsIn: (transaction: Statements) => Rollups): Consumer {
  return makeConsumer(
    { group: 'rollups', types: ['#'], onFailure: 'overtake' },
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

/** The device's clock, unless it was far off; then the gateway's. */
function eventTimeMs(event: Event): number {
  return Date.parse(event.timestatus === 'implausible' ? event.recordedtime : event.time)
}
