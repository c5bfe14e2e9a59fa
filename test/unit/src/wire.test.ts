import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import {
  formerDeadQueue,
  mirrorQueue,
  formerPartitionQueues,
  partitionOf,
  partitionQueue,
  routingKey,
  rungName,
} from '../../../src/contract/wire.ts'

describe('wire names', () => {
  test('puts a device in the same partition for ever', () => {
    // Changing these breaks order per device for every deployed fleet.
    expect(['sensor-1', 'sensor-2', 'boiler', 'Ünïcode'].map((id) => partitionOf(id, 16))).toEqual([
      9, 0, 8, 11,
    ])
  })

  test('spreads devices evenly over partitions', () => {
    const counts = Array.from({ length: 16 }, () => 0)
    for (let device = 0; device < 16_000; device++) {
      const partition = partitionOf(`device-${device}`, 16)
      counts[partition] = (counts[partition] ?? 0) + 1
    }
    for (const count of counts) expect(Math.abs(count - 1000)).toBeLessThan(200)
  })

  test('never leaves the range', () => {
    fc.assert(
      fc.property(fc.string(), fc.integer({ min: 1, max: 99 }), (id, partitions) => {
        const partition = partitionOf(id, partitions)
        expect(partition).toBeGreaterThanOrEqual(0)
        expect(partition).toBeLessThan(partitions)
      }),
    )
  })

  test('names queues as the wire contract says', () => {
    expect(routingKey(3, 'com.acme.climate')).toBe('03.com.acme.climate')
    expect(partitionQueue('history', 12)).toBe('history.12.v2')
    expect(formerPartitionQueues('history', 12)).toEqual(['history.12'])
    expect([5000, 300_000, 250].map((delayMs) => rungName('history', delayMs))).toEqual([
      'history.retry.5s',
      'history.retry.5m',
      'history.retry.250ms',
    ])
    expect(mirrorQueue('history')).toBe('history.dead.v2')
    expect(formerDeadQueue('history')).toBe('history.dead')
  })
})
