import { describe, expect, test } from 'vitest'
import { Remaining } from '../../../cloud/queues/remaining.ts'

/** Two generations before today's, of two partitions. */
const queues = [
  { queue: 'g.00', partition: 0 },
  { queue: 'g.00.v2', partition: 0 },
  { queue: 'g.01', partition: 1 },
]

const remaining = (drained: string[] = [], ordered = true): Remaining =>
  new Remaining({ queues, drained: new Set(drained), ordered })

/** Whether it has resolved by now. */
async function isReady(promise: Promise<void> | undefined): Promise<boolean> {
  return Promise.race([promise?.then(() => true) ?? true, Promise.resolve().then(() => false)])
}

describe('former queues that are left', () => {
  test('keep a partition’s queue of today unread until the last of them is drained (G6)', async () => {
    const left = remaining()
    left.drain('g.00')
    left.tellReady(0)
    expect(await isReady(left.whenReady(0))).toBe(false)
    left.drain('g.00.v2')
    left.tellReady(0)
    await left.whenReady(0)
    expect(await isReady(left.whenReady(1))).toBe(false)
    expect([...left.partitions()]).toEqual([1])
  })

  test('hold nobody up that was drained before, or whose group has no order', () => {
    expect(remaining(['g.00', 'g.00.v2']).whenReady(0)).toBeUndefined()
    expect(remaining([], false).whenReady(0)).toBeUndefined()
  })

  test('are drained once: who comes second learns that nothing is to be done', () => {
    const left = remaining(['g.01'])
    expect(left.drain('g.01')).toBeUndefined()
    expect(left.drain('another')).toBeUndefined()
    expect(left.drain('g.00')).toEqual(queues[0])
    expect(left.drain('g.00')).toBeUndefined()
    expect(left.none).toBe(false)
    left.drain('g.00.v2')
    expect(left.none).toBe(true)
  })
})
