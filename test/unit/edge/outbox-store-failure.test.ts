import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import type { Outbox } from '../../../edge/outbox/outbox.ts'
import type { OutboxOptions } from '../../../edge/outbox/options.ts'
import { SimulatedDisk } from '../../support/fakes/simulated-disk.ts'
import { FakeClock, settled } from '../../support/fakes/clock.ts'
import { submission } from '../../support/edge/outbox-events.ts'
import { openTestOutbox } from '../../support/edge/test-outbox.ts'

describe('an outbox whose store fails', () => {
  let disk: SimulatedDisk
  let clock: FakeClock
  let outbox: Outbox
  let stopping: AbortController

  beforeEach(() => {
    disk = new SimulatedDisk()
    clock = new FakeClock()
    stopping = new AbortController()
  })
  afterEach(() => outbox.close())

  async function open(options: Partial<OutboxOptions> = {}): Promise<void> {
    outbox = await openTestOutbox({
      folder: disk,
      clock,
      random: () => 0.5,
      signal: stopping.signal,
      ...options,
    })
  }

  /** Every write fails from here on. */
  function fail(): void {
    disk.faults.beforeWrite = () => ({ fail: true, landed: false })
  }

  async function append(count: number, prefix: string): Promise<void> {
    const ids = Array.from({ length: count }, (_, index) => `${prefix}${index}`)
    await Promise.all(ids.map((id) => outbox.append(submission('a', id))))
  }

  /** The next write fails; the store is opened again. */
  async function failOnce(): Promise<void> {
    disk.faults.beforeWrite = () => {
      delete disk.faults.beforeWrite
      return { fail: true, landed: false }
    }
    const appended = append(1, 'retried')
    await settled()
    await clock.advance(1000)
    await appended
  }

  test('still sends live events before the backlog once it is open again, and that at its pace', async () => {
    await open({ lanes: { inOrderBelow: 0, eventsPerSecond: 5 } })
    await append(20, 'old')
    outbox.resumed()
    expect(await outbox.take(100)).toHaveLength(5)
    await append(3, 'live')
    await failOnce()
    const ids = (await outbox.take(100)).map(({ id }) => id)
    expect(ids).toEqual(['live0', 'live1', 'live2', 'retried0', 'old5', 'old6', 'old7', 'old8', 'old9'])
    expect(await outbox.take(100)).toEqual([])
    await clock.advance(1000)
    expect((await outbox.take(100)).map(({ id }) => id)).toEqual([
      'old10',
      'old11',
      'old12',
      'old13',
      'old14',
    ])
  })

  test('answers whoever waits for it as soon as the gateway stops', async () => {
    await open()
    await append(3, 'e')
    const taken = await outbox.take(3)
    fail()
    const waiting = Promise.allSettled([outbox.append(submission('a', 'more')), outbox.release(taken)])
    await settled()
    await clock.advance(60_000)
    stopping.abort()
    const closed = {
      status: 'rejected',
      reason: expect.objectContaining({ code: 'OUTBOX_CLOSED' }) as unknown,
    }
    expect(await waiting).toEqual([closed, closed])
    await expect(outbox.append(submission('a', 'later'))).rejects.toMatchObject({ code: 'OUTBOX_CLOSED' })
  })

  test('is not waited for any longer, once the gateway stops, while it is being opened', async () => {
    await open()
    await append(5, 'e')
    await outbox.close()
    disk.alter(disk.keysStartingWith('e!n')[0] ?? '')
    // Opening itself works; what it finds is damaged, and then there is no room to say so.
    let writes = 0
    disk.faults.beforeWrite = () => {
      writes += 1
      return { fail: writes > 2, landed: writes <= 2 }
    }
    const opening = open().catch((error: unknown) => error)
    for (let second = 0; second < 600; second++) {
      await clock.advance(1000)
      await settled()
    }
    expect(writes).toBeGreaterThan(10)
    stopping.abort()
    expect(await opening).toMatchObject({ code: 'OUTBOX_CLOSED' })
  })

  test('takes and lets go while the gateway stops, as long as it does not fail', async () => {
    await open()
    stopping.abort()
    await append(3, 'e')
    await outbox.release(await outbox.take(3))
    expect(outbox.stats().depth.normal).toBe(0)
  })

  test('what is counted and cannot be come to, since an index is damaged, is read after a repair (G2)', async () => {
    let isHidden = false
    let repairs = 0
    const folder = Object.assign(Object.create(disk) as SimulatedDisk, {
      async open() {
        const store = await disk.open()
        const entries: typeof store.entries = (range, ...rest) =>
          isHidden && range.gte.startsWith('e!') ? Promise.resolve([]) : store.entries(range, ...rest)
        return { ...store, entries }
      },
      async repair(why: string) {
        repairs += 1
        isHidden = false
        await disk.repair(why)
      },
    })
    await open({ folder })
    await append(3, 'e')
    isHidden = true
    const taken: string[] = []
    for (let second = 0; second < 10; second += 1) {
      const events = await outbox.take(10)
      taken.push(...events.map(({ id }) => id))
      await outbox.release(events)
      await clock.advance(1000)
      await settled()
    }
    expect(repairs).toBe(1)
    expect(taken.filter((id) => id.startsWith('e'))).toEqual(['e0', 'e1', 'e2'])
  })
})
