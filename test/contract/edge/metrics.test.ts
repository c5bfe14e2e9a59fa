import { afterEach, beforeEach, expect, test } from 'vitest'
import { settled } from '../../support/fakes/clock.ts'
import { candidate, submission } from '../../support/edge/outbox-events.ts'
import { watchedEdge, type WatchedEdge } from '../../support/edge/watched-edge.ts'

let edge: WatchedEdge
beforeEach(async () => {
  edge = await watchedEdge()
})
afterEach(() => edge.close())

async function oldestAges(): Promise<unknown[]> {
  const metrics = await edge.metrics()
  return ['high', 'normal'].map((lane) => metrics[`outbox_oldest_age_seconds{lane="${lane}"}`])
}

test('the age of a lane is that of its oldest event, and never that of one that has left', async () => {
  const { outbox, exchange, pass } = edge
  await outbox.append(submission('a', 'old'))
  await pass(3600)
  await outbox.append(submission('a', 'alarm', { lane: 'high' }))
  await pass(60)
  await outbox.append(submission('a', 'newer'))
  expect(await oldestAges()).toEqual([60, 3660])
  exchange.setReachable(true)
  await pass(2)
  expect(await oldestAges()).toEqual([0, 0])
  exchange.setReachable(false)
  await pass(7200)
  await outbox.append(submission('a', 'after two idle hours'))
  expect(await oldestAges()).toEqual([0, 0])
  await pass(5)
  expect(await oldestAges()).toEqual([0, 5])
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
  const { outbox, disk, metrics, pass } = edge
  const before = await metrics()
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
  expect(await metrics()).toMatchObject({
    written_bytes_total: (before['written_bytes_total'] ?? NaN) + bytes,
    fsync_seconds_count: (before['fsync_seconds_count'] ?? NaN) + syncs,
    disk_write_bytes_total: disk.bytesWritten,
  })
})

test('in flight is what was published and not confirmed, not what was read ahead, and how long that takes shows', async () => {
  const { outbox, exchange, clock, metrics, pass } = edge
  const unconfirmed = async (): Promise<unknown[]> => {
    const { outbox_in_flight_events: events, oldest_unconfirmed_seconds: seconds } = await metrics()
    return [events, seconds]
  }
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
  const { outbox, disk, pass, metrics } = small
  const refusals = async (reason: string): Promise<number | undefined> =>
    (await metrics())[`quota_refusals_total{reason="${reason}"}`]
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
  const { outbox, exchange, clock, metrics, pass } = paced
  const estimate = async (): Promise<number> => (await metrics())['drain_estimate_seconds'] ?? NaN
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
  expect(await estimate()).toBeGreaterThan((depth.normal / 20) * 0.9)
  expect(await estimate()).toBeLessThan((depth.normal / 20) * 1.1)
  exchange.setReachable(false)
  await settled()
  expect(await estimate()).toBe(-1)
  await paced.close()
})

test('what damage took is counted as lost and as undelivered, also when it is found at the start', async () => {
  const { outbox, disk, pass } = edge
  // Each in a block of its own.
  for (let index = 0; index < 10; index++) await outbox.append(submission('a', `e${index}`))
  // The head as it is now is on the mark.
  await pass(11)
  disk.crash()
  disk.damage((key) => key === 'm' || /^e!n!0*[3-5]$/.test(key))
  const again = await watchedEdge({ folder: disk })
  expect(await again.metrics()).toMatchObject({ lost_total: 3, 'undelivered_total{reason="lost"}': 3 })
  disk.damage((key) => /^e!n!0*8$/.test(key))
  again.exchange.setReachable(true)
  await again.pass(5)
  expect(await again.metrics()).toMatchObject({ lost_total: 4, 'undelivered_total{reason="lost"}': 4 })
  await again.close()
})

test('what the metrics say is what happened: contents by lane, admissions, the dedup window, bounds, the uplink', async () => {
  const full = await watchedEdge({ quota: { eventsMax: 4, deviceShare: 1 } })
  const { outbox, exchange, clock, metrics, pass } = full
  await outbox.append(submission('a', 'alarm', { lane: 'high' }))
  for (const id of ['1', '2', '2', '1']) await outbox.append(submission('a', id))
  await outbox.append(submission('b', '3'))
  await outbox.append(submission('b', 'shed', { qos: 0 }))
  const held = outbox.append(submission('b', '4'))
  await pass(30)
  const queued = await outbox.take(10)
  outbox.rewind()
  const bytesOf = (lane: string): number =>
    queued.reduce((sum, event) => sum + (event.lane === lane ? Buffer.byteLength(event.text) : 0), 0)
  expect(await metrics()).toMatchObject({
    'outbox_events{lane="high"}': 1,
    'outbox_events{lane="normal"}': 3,
    'outbox_bytes{lane="high"}': bytesOf('high'),
    'outbox_bytes{lane="normal"}': bytesOf('normal'),
    payload_bytes_total: bytesOf('high') + bytesOf('normal'),
    'admitted_total{result="accepted"}': 4,
    'admitted_total{result="duplicate"}': 2,
    'admitted_total{result="shed"}': 1,
    'quota_refusals_total{reason="events"}': 2,
    'quota_refusals_total{reason="bytes"}': 0,
    'outbox_refusing{reason="events"}': 1,
    'outbox_refusing{reason="bytes"}': 0,
    outbox_waiting: 1,
    outbox_remembered_ids: 4,
    outbox_devices: 2,
    ledger_sequence: 4,
    batch_events_count: 4,
    batch_events_sum: 4,
    uplink_up: 0,
    uplink_offline_seconds: 30,
    'uplink_changes_total{to="up"}': 0,
    forwarded_total: 0,
    'certificate_days_left{certificate="mqtt"}': 90.5,
  })

  exchange.setReachable(true)
  await pass(2)
  expect(await held).toMatchObject({ kind: 'accepted' })
  expect(await metrics()).toMatchObject({ uplink_up: 1, uplink_offline_seconds: 0 })
  exchange.setReachable(false)
  await settled()
  await clock.advance(250)
  expect(await metrics()).toMatchObject({
    'outbox_events{lane="high"}': 0,
    'outbox_events{lane="normal"}': 0,
    'outbox_bytes{lane="normal"}': 0,
    'outbox_refusing{reason="events"}': 0,
    outbox_waiting: 0,
    outbox_remembered_ids: 5,
    outbox_devices: 0,
    ledger_sequence: 5,
    uplink_up: 0,
    uplink_offline_seconds: 0.25,
    'uplink_changes_total{to="up"}': 1,
    'uplink_changes_total{to="down"}': 1,
    forwarded_total: 5,
    confirm_seconds_count: 5,
  })
  await full.close()
})

test('what is not kept or sent at a bound is counted from 0 for each kind of it', async () => {
  const metrics = await edge.metrics()
  const counts = ['queued', 'retained', 'unsent', 'unreleased'].map(
    (what) => metrics[`messages_not_kept_total{what="${what}"}`],
  )
  expect(counts).toEqual([0, 0, 0, 0])
})
