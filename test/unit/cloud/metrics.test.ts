import { expect, test } from 'vitest'
import type { Delivery } from '../../../cloud/amqp/delivery.ts'
import { createMetrics } from '../../../cloud/ops/metrics.ts'
import { createSettlement } from '../../../cloud/pipeline/settlement.ts'
import { headers } from '../../../src/contract/wire.ts'
import { Ledger } from '../../support/cloud/cloud-events.ts'
import { deliveryOf } from '../../support/fakes/delivery.ts'

test('an event that says it was recorded in the year 0 does not spoil how long events take', async () => {
  const metrics = createMetrics()
  const { observer } = metrics
  const nowMs = Date.UTC(2026, 0, 1)
  const delivery = { arrivedAtMs: nowMs, attempt: 1 } as Delivery
  const { event } = new Ledger().next('device-1')
  observer.applied('g', { ...event, recordedtime: '0000-01-01T00:00:00Z' }, delivery, nowMs)
  observer.applied('g', { ...event, recordedtime: new Date(nowMs - 2_000).toISOString() }, delivery, nowMs)
  const lines = (await metrics.text()).split('\n')
  expect(lines.filter((line) => /end_to_end_seconds_(sum|count)/.test(line))).toEqual([
    'tidegate_cloud_end_to_end_seconds_sum{group="g",kind="live"} 2',
    'tidegate_cloud_end_to_end_seconds_count{group="g",kind="live"} 1',
  ])
})

test('letters that fail again are counted however quick their replay is over, and so is what is processed', async () => {
  const metrics = createMetrics()
  const settlement = createSettlement({
    group: 'g',
    observer: metrics.observer,
    stopping: new AbortController().signal,
  })
  const sent = { exchange: '', headers: { [headers.letter]: 7, [headers.replay]: 2 } }
  settlement.settle(deliveryOf(sent), 'dead')
  settlement.settle(deliveryOf(sent), 'processed')
  settlement.settle(deliveryOf({ ...sent, exchange: 'tidegate.events' }), 'dead')
  const lines = (await metrics.text()).split('\n')
  expect(lines.filter((line) => line.startsWith('tidegate_cloud_replayed_total'))).toEqual([
    'tidegate_cloud_replayed_total{group="g",outcome="dead"} 1',
    'tidegate_cloud_replayed_total{group="g",outcome="processed"} 1',
  ])
})
