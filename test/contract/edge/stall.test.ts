import { afterEach, beforeEach, expect, test } from 'vitest'
import { submission } from '../../support/edge/outbox-events.ts'
import { watchedEdge, type WatchedEdge } from '../../support/edge/watched-edge.ts'

let edge: WatchedEdge
beforeEach(async () => {
  edge = await watchedEdge()
})
afterEach(() => edge.close())

const brokenDisk = { beforeWrite: () => ({ fail: true, landed: false }) }

test('an edge whose disk cannot be written is not ready, and ready again when it can', async () => {
  const { outbox, disk, pass } = edge
  await outbox.append(submission('a', 'before'))
  disk.faults = brokenDisk
  const waiting = outbox.append(submission('a', 'during'))
  await pass(1)
  expect(outbox.stats()).toMatchObject({ waiting: 1, refusing: 'store-failed' })
  await pass(50)
  expect(await edge.faults()).toEqual([])
  await pass(10)
  expect(await edge.faults()).toEqual(['outbox'])
  disk.faults = {}
  await pass(10)
  expect(await waiting).toMatchObject({ kind: 'accepted' })
  expect(outbox.stats()).toMatchObject({ waiting: 0, refusing: undefined })
  expect(await edge.faults()).toEqual([])
})

test('an edge whose disk fails is not ready though no device publishes', async () => {
  edge.disk.faults = brokenDisk
  await edge.pass(95)
  expect(await edge.faults()).toEqual(['outbox'])
})

test('an edge that connects again and again and can prove nothing is not ready, until something is proven', async () => {
  const { outbox, exchange, pass } = edge
  await outbox.append(submission('a', 'unroutable'))
  await pass(3600)
  expect(await edge.faults()).toEqual([])
  exchange.bound = false
  exchange.setReachable(true)
  await pass(30)
  expect(await edge.faults()).toEqual([])
  await pass(60)
  expect(exchange.sessions).toBeGreaterThan(3)
  expect(await edge.faults()).toEqual(['uplink'])
  exchange.bound = true
  await pass(30)
  expect(outbox.stats().depth.normal).toBe(0)
  expect(await edge.faults()).toEqual([])
})

test('repeats that are answered at once are no stall, however many come and nothing is written', async () => {
  const { outbox, pass } = edge
  await outbox.append(submission('a', 'known'))
  for (let round = 0; round < 20; round++) {
    const repeat = outbox.append(submission('a', 'known'))
    expect(outbox.stats().waiting).toBe(1)
    expect(await edge.faults()).toEqual([])
    expect(await repeat).toEqual({ kind: 'duplicate' })
    await pass(5)
  }
})
