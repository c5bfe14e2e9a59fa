import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { silentOutboxObserver } from '../../edge/outbox/observer.ts'
import type { Outbox } from '../../edge/outbox/outbox.ts'
import { levelFolder } from '../../edge/store/store-level.ts'
import { systemClock } from '../../src/clock.ts'
import { OutboxAccount } from '../support/edge/outbox-account.ts'
import { submission } from '../support/edge/outbox-events.ts'
import { mountSmallDisk, type SmallDisk } from '../support/edge/small-disk.ts'
import { openTestOutbox } from '../support/edge/test-outbox.ts'

const writers = 20
let disk: SmallDisk
let outbox: Outbox
let lost = 0

async function open(): Promise<Outbox> {
  return openTestOutbox({
    folder: levelFolder({ folder: disk.path, reserveBytes: 16 << 20, clock: systemClock }),
    observer: { ...silentOutboxObserver, lost: (count) => (lost += count) },
    quota: { diskFreeBytesMin: 4 << 20 },
  })
}

beforeEach(async () => {
  lost = 0
  disk = await mountSmallDisk(48)
  outbox = await open()
})
afterEach(async () => {
  await outbox.close()
  await disk.unmount()
})

/** Devices that send one event after another, each when the one before is acknowledged. */
function startFleet(account: OutboxAccount): { accepted: () => number; stop(): Promise<void> } {
  const stopping = new AbortController()
  let accepted = 0
  const runs = Array.from({ length: writers }, async (_, writer) => {
    for (let index = 0; !stopping.signal.aborted; index++) {
      await account.append(outbox, [`w${writer}e${index}`])
      accepted += 1
    }
  })
  // A run that failed is told by stop(), or by what never happens.
  for (const run of runs) run.catch(() => {})
  return {
    accepted: () => accepted,
    async stop() {
      stopping.abort()
      await Promise.all(runs)
    },
  }
}

async function deliver(account: OutboxAccount, events: number): Promise<void> {
  const taken = await outbox.take(events)
  account.deliver(taken)
  await outbox.release(taken)
}

/** A release is small, and fails once neither the page that the log has begun nor the reserve, if it is still there, has room. */
async function deliverWithoutRoom(account: OutboxAccount, failed: AbortSignal): Promise<void> {
  while (!failed.aborted) {
    disk.fill()
    await deliver(account, 10)
  }
}

/** Everything accepted is there after one more start, once. */
async function expectNothingLost(account: OutboxAccount): Promise<void> {
  await outbox.close()
  outbox = await open()
  await account.drain(outbox)
  expect(account.undelivered()).toEqual([])
  expect(outbox.stats().depth).toEqual({ high: 0, normal: 0 })
  expect(lost).toBe(0)
}

test('a full disk loses nothing, lets releases through, and once there is room all goes on by itself (G1)', async () => {
  const account = new OutboxAccount()
  const fleet = startFleet(account)
  await vi.waitFor(() => expect(fleet.accepted()).toBeGreaterThan(2000), 10_000)

  disk.fill()
  await vi.waitFor(
    () => expect(outbox.stats()).toMatchObject({ waiting: writers, refusing: 'disk-free' }),
    20_000,
  )
  const acceptedWhenFull = fleet.accepted()
  expect(await outbox.append(submission('device-9', 'unsure', { qos: 0 }))).toMatchObject({ kind: 'shed' })

  const depth = outbox.stats().depth.normal
  for (let round = 0; round < 5; round++) await deliver(account, 100)
  expect(outbox.stats().depth.normal).toBe(depth - 500)
  expect(fleet.accepted()).toBe(acceptedWhenFull)

  await disk.makeRoom()
  await vi.waitFor(() => expect(fleet.accepted()).toBeGreaterThan(acceptedWhenFull + 1000), 20_000)
  await fleet.stop()
  await expectNothingLost(account)
})

test('a disk on which something else eats the reserve too loses nothing and recovers by itself (G7)', async () => {
  const account = new OutboxAccount()
  const fleet = startFleet(account)
  await vi.waitFor(() => expect(fleet.accepted()).toBeGreaterThan(1000), 10_000)

  disk.fill()
  await vi.waitFor(() => expect(outbox.stats().refusing).toBe('disk-free'), 20_000)
  const failed = new AbortController()
  const delivering = deliverWithoutRoom(account, failed.signal)
  await vi.waitFor(() => expect(outbox.stats().refusing).toBe('store-failed'), 20_000)
  failed.abort()
  expect(await outbox.append(submission('device-9', 'unsure', { qos: 0 }))).toEqual({
    kind: 'shed',
    reason: 'store-failed',
  })
  const acceptedWhenFull = fleet.accepted()

  await disk.makeRoom()
  await delivering
  await vi.waitFor(() => expect(fleet.accepted()).toBeGreaterThan(acceptedWhenFull + 1000), 20_000)
  await fleet.stop()
  await expectNothingLost(account)
})
