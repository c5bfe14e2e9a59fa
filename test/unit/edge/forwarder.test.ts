import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { forward } from '../../../edge/uplink/forwarder.ts'
import { type ForwarderObserver, silentForwarderObserver } from '../../../edge/uplink/observer.ts'
import type { Outbox } from '../../../edge/outbox/outbox.ts'
import { closedError } from '../../../edge/outbox/writer/writer-state.ts'
import { TidegateError } from '../../../src/errors.ts'
import { silentLog } from '../../../src/log.ts'
import { SimulatedDisk } from '../../support/fakes/simulated-disk.ts'
import { FakeClock, settled } from '../../support/fakes/clock.ts'
import { FakeExchange } from '../../support/fakes/exchange.ts'
import { submission } from '../../support/edge/outbox-events.ts'
import { openTestOutbox } from '../../support/edge/test-outbox.ts'

describe('the forwarder', () => {
  let clock: FakeClock
  let disk: SimulatedDisk
  let outbox: Outbox
  let exchange: FakeExchange
  let stop: AbortController
  let running: Promise<void> | undefined

  beforeEach(async () => {
    clock = new FakeClock()
    disk = new SimulatedDisk()
    exchange = new FakeExchange()
    stop = new AbortController()
    outbox = await openTestOutbox({
      folder: disk,
      clock,
      random: () => 0.5,
    })
  })
  afterEach(async () => {
    await stopped()
    await outbox.close()
  })

  function start(observer: Partial<ForwarderObserver> = {}, windowEvents = 100, batchEventsMax = 1): void {
    running = forward(
      {
        outbox,
        exchange,
        clock,
        random: () => 0.5,
        log: silentLog,
        observer: { ...silentForwarderObserver, ...observer },
        batch: { eventsMax: batchEventsMax, bytesMax: 65_536, partitions: 4 },
        windowEvents,
        confirmTimeoutMs: 10_000,
        retry: { delayMsMin: 100, delayMsMax: 1000 },
      },
      stop.signal,
    )
  }

  async function append(count: number, prefix = 'e'): Promise<void> {
    await Promise.all(
      Array.from({ length: count }, (_, index) => outbox.append(submission('a', `${prefix}${index}`))),
    )
  }

  const depth = (): number => outbox.stats().depth.normal
  const routedIds = (): string[] => exchange.routed.map(({ id }) => id)

  async function stopped(): Promise<void> {
    stop.abort()
    await clock.advance(5000)
    await running
  }

  test('delivers in order and releases what was proven (G6)', async () => {
    start()
    await append(250)
    await settled()
    await clock.advance(1000)
    expect(routedIds()).toEqual(Array.from({ length: 250 }, (_, index) => `e${index}`))
    expect(depth()).toBe(0)
  })

  test('releases nothing that was published but not confirmed (G3, I4)', async () => {
    exchange.answering = false
    start()
    await append(10)
    await clock.advance(2000)
    expect(routedIds()).toHaveLength(10)
    expect(depth()).toBe(10)
    exchange.answer()
    await settled()
    expect(depth()).toBe(0)
  })

  test('releases nothing that was confirmed but not routed, and does not spin (G3)', async () => {
    const codes: string[] = []
    exchange.bound = false
    start({ refused: (code) => codes.push(code) })
    await append(5)
    await clock.advance(10_000)
    expect(depth()).toBe(5)
    expect(new Set(codes)).toEqual(new Set(['UNROUTABLE']))
    expect(exchange.sessions).toBeLessThan(25)
    exchange.bound = true
    await clock.advance(5000)
    expect(depth()).toBe(0)
  })

  test('keeps no more in flight than its window (G7)', async () => {
    exchange.answering = false
    start({}, 40)
    await append(200)
    await clock.advance(1000)
    expect(exchange.routed).toHaveLength(40)
  })

  test('what waits leaves together, and is released when its batch is proven, not before (G3)', async () => {
    exchange.answering = false
    await append(50)
    start({}, 100, 20)
    await clock.advance(2000)
    expect(exchange.sizes).toEqual([20, 20, 10])
    expect(depth()).toBe(50)
    exchange.answer()
    await settled()
    expect(depth()).toBe(0)
    expect(routedIds()).toEqual(Array.from({ length: 50 }, (_, index) => `e${index}`))
  })

  test('nothing waits for company: an event that comes alone leaves alone', async () => {
    start({}, 100, 20)
    await settled()
    for (let number = 0; number < 5; number++) {
      await append(1, `alone-${number}-`)
      await settled()
      expect(exchange.sizes).toHaveLength(number + 1)
    }
    expect(new Set(exchange.sizes)).toEqual(new Set([1]))
  })

  test('a full window is filled again when half of it is free, so that batches stay large, and holds no more events than it may (G7)', async () => {
    exchange.answering = false
    exchange.answersMax = 1
    const devices = ['a', 'b', 'c', 'd', 'e', 'f', 'g', 'h']
    for (let index = 0; index < 50; index++)
      await Promise.all(devices.map((device) => outbox.append(submission(device, `e${index}`))))
    start({}, 80, 10)
    await clock.advance(1000)
    expect(exchange.routed).toHaveLength(80)
    exchange.answer()
    await clock.advance(5000)
    expect(depth()).toBe(0)
    expect(exchange.sizes.length).toBeLessThanOrEqual(60)
  })

  test.each([
    ['refused', { nackedAbove: 1 }],
    ['too large, for which the session is closed', { sizeMax: 1 }],
  ])(
    'a batch that is %s leaves as single events, and those behind it as batches again (G3)',
    async (_, limit) => {
      Object.assign(exchange, limit)
      await append(30)
      start({}, 100, 10)
      await clock.advance(60_000)
      expect(depth()).toBe(0)
      const first = exchange.sizes.filter((size) => size > 1).length
      expect(exchange.sizes.filter((size) => size === 1)).toHaveLength(30)
      Object.assign(exchange, { nackedAbove: Infinity, sizeMax: Infinity })
      await append(30, 'later')
      await settled()
      expect(exchange.sizes.filter((size) => size > 1).length).toBeGreaterThan(first)
      expect(new Set(routedIds()).size).toBe(60)
    },
  )

  test('where the broker takes no batch and answers slowly, all leaves as single events in the end (G3)', async () => {
    Object.assign(exchange, { sizeMax: 1, answersMax: 1 })
    await append(400)
    start({}, 100, 10)
    await clock.advance(120_000)
    expect(depth()).toBe(0)
    expect(new Set(routedIds()).size).toBe(400)
  })

  test('counts every event of a message that was refused', async () => {
    const refused: [string, number][] = []
    exchange.nackedAbove = 1
    await append(30)
    start({ refused: (code, events) => refused.push([code, events]) }, 100, 10)
    await clock.advance(60_000)
    expect(refused).toContainEqual(['NACKED', 10])
    expect(refused.every(([, events]) => events > 1)).toBe(true)
    expect(depth()).toBe(0)
  })

  test('over a link on which no batch comes through, single events do (G3)', async () => {
    await append(30)
    exchange.answering = false
    start({}, 100, 10)
    await settled()
    exchange.cut()
    await clock.advance(2000)
    expect(exchange.sizes.slice(3)).toEqual(Array.from({ length: 30 }, () => 1))
    exchange.answer()
    await settled()
    expect(depth()).toBe(0)
  })

  test('sends again, oldest first, what a lost session had not proven (G3)', async () => {
    exchange.answering = false
    start()
    await append(20)
    await settled()
    exchange.cut()
    exchange.answering = true
    await clock.advance(2000)
    expect(routedIds().slice(20)).toEqual(Array.from({ length: 20 }, (_, index) => `e${index}`))
    expect(depth()).toBe(0)
  })

  test('gives a session up whose confirms do not come, and goes on with the next', async () => {
    exchange.answering = false
    start()
    await append(3)
    await clock.advance(9000)
    expect(exchange.sessions).toBe(1)
    exchange.answering = true
    await clock.advance(5000)
    expect(exchange.sessions).toBe(2)
    expect(depth()).toBe(0)
  })

  test('counts the time to confirm only from when the broker no longer blocks', async () => {
    exchange.answering = false
    start()
    await append(3)
    await clock.advance(2000)
    exchange.blocked = true
    await clock.advance(60_000)
    exchange.blocked = false
    await clock.advance(9000)
    expect(exchange.sessions).toBe(1)
    await clock.advance(3000)
    expect(exchange.sessions).toBe(2)
  })

  test('tells when the uplink goes and comes', async () => {
    const seen: boolean[] = []
    start({ uplink: (up) => seen.push(up) })
    await settled()
    exchange.setReachable(false)
    await clock.advance(2000)
    exchange.setReachable(true)
    await clock.advance(2000)
    expect(seen).toEqual([true, false, true])
  })

  test('stops although the disk fails and nothing that was proven can be released', async () => {
    start()
    await settled()
    await append(3)
    disk.faults.beforeWrite = () => ({ fail: true, landed: false })
    await clock.advance(5000)
    expect(routedIds()).toHaveLength(3)
    expect(depth()).toBe(3)
    await stopped()
  })

  test('stops although the disk fails and nothing can be read', async () => {
    const seen: boolean[] = []
    await append(3)
    disk.faults.beforeRead = () => {
      throw new TidegateError('STORE_UNAVAILABLE', { message: 'I/O error', retryable: true, hint: '' })
    }
    start({ uplink: (up) => seen.push(up) })
    await clock.advance(5000)
    expect(routedIds()).toEqual([])
    await stopped()
    expect(seen).toEqual([true, false])
  })

  test('tells that the uplink is gone also when the outbox is closed under it', async () => {
    const seen: boolean[] = []
    start({ uplink: (up) => seen.push(up) })
    await settled()
    await append(1)
    outbox.take = () => Promise.reject(closedError())
    await clock.advance(5000)
    await running
    expect(seen).toEqual([true, false])
  })
})
