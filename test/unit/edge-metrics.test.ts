import { afterEach, beforeEach, expect, test } from 'vitest'
import { settled } from '../support/fake-clock.ts'
import { candidate, submission } from '../support/outbox-events.ts'
import { watchedEdge, type WatchedEdge } from '../support/watched-edge.ts'

let edge: WatchedEdge
beforeEach(async () => {
  edge = await watchedEdge()
})
afterEach(() => edge.close())

const lossesOf = ({ metric }: WatchedEdge): Promise<unknown[]> =>
  Promise.all([
    metric('tidegate_edge_lost_total'),
    metric('tidegate_edge_undelivered_total', { reason: 'lost' }),
  ])

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

test('every write to the disk is counted in bytes: events, releases, expiry, the ledger', async () => {
  const { outbox, disk, metric, pass } = edge
  const counted = async (): Promise<number[]> =>
    Promise.all(
      ['written_bytes_total', 'fsync_seconds_count', 'disk_write_bytes_total'].map(
        async (name) => (await metric(`tidegate_edge_${name}`)) ?? NaN,
      ),
    )
  const [bytesBefore = NaN, syncsBefore = NaN] = await counted()
  const kinds = new Set<string>()
  let bytes = 0
  let syncs = 0
  disk.faults = {
    landed(operations, synced) {
      for (const operation of operations) {
        kinds.add(`${operation.type} ${operation.key[0]}`)
        bytes += Buffer.byteLength(operation.key)
        if (operation.type === 'put') bytes += Buffer.byteLength(operation.value)
      }
      if (synced) syncs += 1
    },
  }
  await outbox.append({
    candidate: candidate('a', 'wide', { text: '≈20 °C' }),
    lane: 'normal',
    qos: 1,
    ttlMs: 2000,
  })
  await outbox.append(submission('b', 'released'))
  const [, second] = await outbox.take(2)
  await outbox.release(second ? [second] : [])
  outbox.rewind()
  await pass(8)
  expect([...kinds].toSorted()).toEqual(
    ['put m', 'put e', 'put d', 'put q', 'put x', 'put u', 'del e', 'del q', 'del x', 'del u'].toSorted(),
  )
  expect(await counted()).toEqual([bytesBefore + bytes, syncsBefore + syncs, disk.bytesWritten])
  expect(await metric('tidegate_edge_payload_bytes_total')).toBeGreaterThan(500)
})

test('in flight is what was published and not confirmed, not what was read ahead, and how long that takes shows', async () => {
  const { outbox, exchange, clock, metric, pass } = edge
  const unconfirmed = async (): Promise<unknown[]> => [
    await metric('tidegate_edge_outbox_in_flight_events'),
    await metric('tidegate_edge_oldest_unconfirmed_seconds'),
  ]
  await Promise.all(Array.from({ length: 200 }, (_, index) => outbox.append(submission('a', `e${index}`))))
  expect(await unconfirmed()).toEqual([0, 0])
  exchange.answering = false
  exchange.setReachable(true)
  await settled()
  await pass(7)
  expect(exchange.routed).toHaveLength(10)
  expect(await unconfirmed()).toEqual([10, 7])
  exchange.answer()
  while (outbox.stats().depth.normal > 0) await settled()
  expect(await unconfirmed()).toEqual([0, 0])
  exchange.answering = false
  await outbox.append(submission('a', 'next'))
  await settled()
  await clock.advance(1500)
  expect(await unconfirmed()).toEqual([1, 1.5])
  exchange.setReachable(false)
  await settled()
  expect(await unconfirmed()).toEqual([0, 0])
})

test('a refused publish counts once under the bound it met, however often it is tried again', async () => {
  const small = await watchedEdge({ quota: { eventsMax: 2, deviceShare: 1 }, waitingMax: 5 })
  const { outbox, disk, pass, metric } = small
  const refusals = (reason: string): Promise<number | undefined> =>
    metric('tidegate_edge_quota_refusals_total', { reason })
  await outbox.append(submission('a', 'first'))
  await outbox.append(submission('b', 'second'))
  const held = ['c', 'd', 'e'].map((device) => outbox.append(submission(device, 'held')))
  await settled()
  await expect(outbox.append(submission('f', 'shed', { qos: 0 }))).resolves.toMatchObject({ kind: 'shed' })
  await pass(30)
  expect(await refusals('events')).toBe(4)

  disk.faults = { beforeWrite: () => ({ fail: true, landed: false }) }
  void outbox.release(await outbox.take(2))
  const inLine = ['g', 'h'].map((device) => outbox.append(submission(device, 'in line')))
  await expect(outbox.append(submission('i', 'too many'))).rejects.toMatchObject({ code: 'OUTBOX_BUSY' })
  await pass(30)
  expect(await refusals('store-failed')).toBe(2)
  expect(await refusals('waiting')).toBe(1)

  disk.faults = {}
  await pass(10)
  await outbox.release(await outbox.take(2))
  await outbox.release(await outbox.take(2))
  expect((await Promise.all([...held, ...inLine])).map(({ kind }) => kind)).toEqual(
    Array.from({ length: 5 }, () => 'accepted'),
  )
  await small.close()
})

test('the drain estimate is the backlog over what it shrinks by, and -1 once the uplink is lost', async () => {
  const paced = await watchedEdge({ lanes: { eventsPerSecond: 20, inOrderBelow: 0, backlogShareMin: 0 } })
  const { outbox, exchange, clock, metric, pass } = paced
  const estimate = (): Promise<number | undefined> => metric('tidegate_edge_drain_estimate_seconds')
  expect(await estimate()).toBe(0)
  await Promise.all(Array.from({ length: 1000 }, (_, index) => outbox.append(submission('a', `old${index}`))))
  await pass(1800)
  expect(await estimate()).toBe(-1)
  exchange.setReachable(true)
  await settled()
  for (let second = 0; second < 20; second++) {
    await Promise.all([1, 2, 3, 4, 5].map((part) => outbox.append(submission('b', `${second}-${part}`))))
    await settled()
    await clock.advance(1000)
  }
  const { depth } = outbox.stats()
  expect(depth.normal).toBeGreaterThan(500)
  expect((await estimate()) ?? NaN).toBeGreaterThan((depth.normal / 20) * 0.9)
  expect((await estimate()) ?? NaN).toBeLessThan((depth.normal / 20) * 1.1)
  exchange.setReachable(false)
  await settled()
  expect(await estimate()).toBe(-1)
  await paced.close()
})

test('what damage took is counted as lost and as undelivered, also when it is found at the start', async () => {
  const { outbox, disk, pass } = edge
  await Promise.all(Array.from({ length: 10 }, (_, index) => outbox.append(submission('a', `e${index}`))))
  // The head as it is now is on the mark.
  await pass(11)
  disk.crash()
  disk.damage((key) => key === 'm' || /^e!n!0*[3-5]$/.test(key))
  const again = await watchedEdge({ folder: disk })
  expect(await lossesOf(again)).toEqual([3, 3])
  disk.damage((key) => /^e!n!0*8$/.test(key))
  again.exchange.setReachable(true)
  await again.pass(5)
  expect(await lossesOf(again)).toEqual([4, 4])
  await again.close()
})
