import { afterEach, beforeEach, expect, test } from 'vitest'
import { submission } from '../support/outbox-events.ts'
import { watchedEdge, type WatchedEdge } from '../support/watched-edge.ts'

let edge: WatchedEdge
beforeEach(async () => {
  edge = await watchedEdge()
})
afterEach(() => edge.close())

const oldestAge = async (): Promise<unknown[]> =>
  Promise.all(
    ['high', 'normal'].map((lane) => edge.metric('tidegate_edge_outbox_oldest_age_seconds', { lane })),
  )

test('the age of a lane is that of its oldest event, and never that of one that has left', async () => {
  const { outbox, exchange, pass } = edge
  await outbox.append(submission('a', 'old'))
  await pass(3600)
  await outbox.append(submission('a', 'alarm', { lane: 'high' }))
  await pass(60)
  await outbox.append(submission('a', 'newer'))
  expect(await oldestAge()).toEqual([60, 3660])
  exchange.setReachable(true)
  await pass(2)
  expect(await oldestAge()).toEqual([0, 0])
  exchange.setReachable(false)
  await pass(7200)
  await outbox.append(submission('a', 'after two idle hours'))
  expect(await oldestAge()).toEqual([0, 0])
  await pass(5)
  expect(await oldestAge()).toEqual([0, 5])
})

test('behind the oldest event that left, the age is that of the next, though new ones come in all the time', async () => {
  const { outbox, clock } = edge
  await outbox.append(submission('a', 'oldest'))
  await clock.advance(100_000)
  for (let second = 0; second < 10; second++) {
    await outbox.append(submission('a', `next ${second}`))
    await clock.advance(1000)
  }
  await outbox.release(await outbox.take(1))
  for (let tenth = 0; tenth < 10; tenth++) {
    await outbox.append(submission('a', `live ${tenth}`))
    await clock.advance(100)
  }
  expect(outbox.stats().oldestAgeMs).toEqual({ high: 0, normal: 11_000 })
})
