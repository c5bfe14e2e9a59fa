import { expect, test } from 'vitest'
import { isDue, type PartitionStanding } from '../../../cloud/retention/partitions-postgres.ts'

const week: PartitionStanding = {
  partition: 'events_20260105',
  from: '2026-01-05T00:00:00.000Z',
  until: '2026-01-12T00:00:00.000Z',
  events: 1,
  isCounted: false,
  bytes: 1,
  newestStored: '2026-01-11T00:00:00.000Z',
  oldestRecorded: null,
  newestRecorded: null,
  missingIndexes: [],
  isLeftOver: false,
}
const late = '2026-06-01T00:00:00.000Z'

test.each<[string, boolean, Partial<PartitionStanding>]>([
  ['a week that is over', true, {}],
  ['one in which nothing is', true, { newestStored: null }],
  ['one in which something was stored since', false, { newestStored: late }],
  ['one that is not over for long enough', false, { until: late }],
  ['one that lacks indexes, so that nobody knows', false, { missingIndexes: ['events_20260105_order'] }],
  ['what belongs to no week', false, { partition: 'events_other', from: null, until: null }],
  ['what was recorded before there were weeks', true, { partition: 'events_before', from: null }],
  [
    'the place of that, while nothing is in it but what stayed',
    false,
    { partition: 'events_before', from: null, isLeftOver: true },
  ],
])('%s is due: %s', (_, due, more) => {
  const olderThanMs = 90 * 24 * 3_600_000
  expect(isDue({ ...week, ...more }, { nowMs: Date.parse('2026-07-01T00:00:00.000Z'), olderThanMs })).toBe(
    due,
  )
})
