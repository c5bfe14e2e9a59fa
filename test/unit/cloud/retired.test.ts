import { describe, expect, test } from 'vitest'
import type { Delivery } from '../../../cloud/amqp/delivery.ts'
import { type RetiredRegister, type RetiringOptions, startRetiring } from '../../../cloud/groups/retired.ts'
import type { FormerQueue } from '../../../cloud/queues/former.ts'
import { silentLog } from '../../../src/log.ts'
import { FakeClock } from '../../support/fakes/clock.ts'

const queue: FormerQueue = { queue: 'rollups.00', partition: 0 }
const minuteMs = 60_000

/** A queue of one message, which history never has, and all that is done. */
function parts(more: Partial<RetiredRegister> = {}) {
  const clock = new FakeClock()
  const done: string[] = []
  const warned: { code: string; queues: unknown }[] = []
  const log = { ...silentLog, warn: (about: { code: string; queues: unknown }) => void warned.push(about) }
  const text = Buffer.from('no event')
  const delivery = { text, queue: queue.queue, propertyBlock: Buffer.alloc(0), lost: false } as Delivery
  let asked = 0
  const options: RetiringOptions = {
    queues: {
      existing: async () => (done.includes('remove') ? [] : [queue]),
      unbind: async () => void done.push('unbind'),
      remove: async () => void done.push('remove'),
    },
    line: {
      subscribe: (_, onDelivery) => onDelivery(delivery),
      leave: async () => {},
      isOver: () => false,
      emptied: (_, signal) =>
        new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason as Error))),
      pause: () => {},
      resume: () => {},
      stop: () => {},
      close: async () => {},
    },
    register: {
      isOurs: async () => true,
      removed: async () => void done.push('removed'),
      present: async () => [],
      kept: async () => {
        asked += 1
        return new Set()
      },
      ...more,
    },
    lock: async () => ({ lost: new AbortController().signal, release: async () => {} }),
    goneAfterMs: 1_000,
    clock,
    log: log as RetiringOptions['log'],
  }
  const retiring = startRetiring(options)
  return {
    retiring,
    clock,
    done,
    warned,
    get asked() {
      return asked
    },
  }
}

describe('a message of a retired group that history never has', () => {
  test('is asked for ever more seldom, is told of once, and is counted', async () => {
    const world = parts()
    await world.clock.advance(0)
    await world.clock.advance(3 * minuteMs)
    expect(world.retiring.waiting).toBe(1)
    expect(world.warned).toEqual([{ code: 'MESSAGES_NOT_IN_HISTORY', queues: { 'rollups.00': 1 } }])
    const before = world.asked
    await world.clock.advance(60 * minuteMs)
    expect(world.asked - before).toBeLessThan(20)
    expect(world.warned).toHaveLength(1)
    expect(world.done).toEqual(['unbind'])
    await world.retiring.close()
  })
})

test('queues of which nothing says that they are those of what was built in are left as they are, and told of (G5)', async () => {
  const world = parts({ isOurs: async () => false })
  await world.clock.advance(0)
  await world.clock.advance(minuteMs)
  expect(world.done).toEqual([])
  expect(world.warned).toEqual([{ code: 'QUEUES_NOT_OURS', queues: ['rollups.00'] }])
  await world.retiring.close()
})
