import { describe, expect, test } from 'vitest'
import { createGate } from '../../../cloud/api/rules/gate.ts'
import { refusalOf } from '../../../cloud/api/rules/problem.ts'
import { boundedStorage } from '../../../cloud/api/writes/bounded-storage.ts'
import type { Storage, Transaction } from '../../../cloud/database/storage.ts'
import type { Reads } from '../../../cloud/api/reads/reads.ts'
import { orAborted } from '../../../src/lifecycle.ts'
import { TidegateError } from '../../../src/errors.ts'
import { createTestApi } from '../../support/cloud/test-api.ts'
import { FakeClock } from '../../support/fakes/clock.ts'

const forever = new AbortController().signal

/** Transactions that end when they are told to. */
function heldStorage() {
  const held: (() => void)[] = []
  const storage: Storage = {
    async transaction(work, signal) {
      signal.throwIfAborted()
      await orAborted(new Promise<void>((done) => held.push(done)), signal)
      return work({} as Transaction)
    },
    probe: async () => {},
    close: async () => {},
  }
  return { storage, held }
}
const failing = (thrown: Error): Storage => ({
  ...heldStorage().storage,
  transaction: async () => {
    throw thrown
  },
})
const outcomeOf = async (thrown: Error): Promise<unknown> => {
  const bounds = { underWayMax: 1, waitingMax: 0 }
  const asked = boundedStorage(failing(thrown), new FakeClock(), bounds).transaction(async () => 1, forever)
  return (await Promise.allSettled([asked]))[0]
}
const turn = (): Promise<void> => new Promise((done) => setImmediate(done))

describe('what people ask for, beside the events', () => {
  test('is so much at a time, waits in its order, and is told to come back when too much waits', async () => {
    const { storage, held } = heldStorage()
    const bounded = boundedStorage(storage, new FakeClock(), { underWayMax: 2, waitingMax: 2 })
    const done: number[] = []
    const all = [1, 2, 3, 4, 5].map((one) =>
      bounded.transaction(async () => void done.push(one), forever).catch((error: unknown) => error),
    )
    expect(await all[4]).toMatchObject({ code: 'API_BUSY', status: 503, headers: { 'retry-after': '2' } })
    expect(held).toHaveLength(2)
    while (done.length < 4) {
      held.shift()?.()
      await turn()
    }
    expect(done).toEqual([1, 2, 3, 4])
    const again = bounded.transaction(async () => 6, forever)
    await turn()
    held.shift()?.()
    expect(await again).toBe(6)
  })

  test('ends after its time, whatever it waits for, and lets the next have its place', async () => {
    const clock = new FakeClock()
    const { storage, held } = heldStorage()
    const bounded = boundedStorage(storage, clock, { underWayMax: 1, waitingMax: 1, transactionMsMax: 1000 })
    const slow = bounded.transaction(async () => 1, forever).catch((error: unknown) => error)
    const next = bounded.transaction(async () => 2, forever)
    await turn()
    await clock.advance(1001)
    expect(await slow).toMatchObject({ code: 'TOOK_TOO_LONG', status: 422 })
    await turn()
    held.at(-1)?.()
    expect(await next).toBe(2)
  })

  test('is "not now" when the cloud stops in the midst of it, and nothing of it warns', async () => {
    const warnings: string[] = []
    const listen = (warning: Error): void => void warnings.push(warning.name)
    process.on('warning', listen)
    const { storage } = heldStorage()
    const bounded = boundedStorage(storage, new FakeClock(), { underWayMax: 3, waitingMax: 60 })
    const stopping = new AbortController()
    const all = Array.from({ length: 40 }, () =>
      bounded.transaction(async () => 1, stopping.signal).catch(refusalOf),
    )
    await turn()
    stopping.abort()
    expect(new Set((await Promise.all(all)).map((one) => (one as { code: string }).code))).toEqual(
      new Set(['API_STOPPING']),
    )
    await turn()
    process.off('warning', listen)
    expect(warnings).toEqual([])
  })

  test('says "narrow it" where PostgreSQL gave a statement up, and nothing else of another fault', async () => {
    const givenUp = Object.assign(new Error('canceling statement'), { code: '57014' })
    expect(await outcomeOf(givenUp)).toMatchObject({ reason: { code: 'TOOK_TOO_LONG' } })
    const options = { message: 'm', hint: 'h', retryable: true, cause: givenUp }
    expect(await outcomeOf(new TidegateError('DATABASE_UNREACHABLE', options))).toMatchObject({
      reason: { code: 'TOOK_TOO_LONG' },
    })
    const other = new Error('other')
    expect(await outcomeOf(other)).toEqual({ status: 'rejected', reason: other })
  })

  test('is "not now" where PostgreSQL gave it up for a rival, and no fault of anybody', () => {
    const deadlock = Object.assign(new Error('deadlock detected'), { code: '40P01' })
    expect(refusalOf(deadlock)).toMatchObject({ status: 503, code: 'API_BUSY', retryable: true })
    const options = { message: 'm', hint: 'h', retryable: true, cause: deadlock }
    expect(refusalOf(new TidegateError('DATABASE_FAULT', options))).toMatchObject({ code: 'API_BUSY' })
  })

  test('is two at a time of one subject, and another need not wait for them', async () => {
    const held: (() => void)[] = []
    const letters = async (): Promise<unknown> => {
      await new Promise<void>((done) => held.push(done))
      return { items: [], next: null }
    }
    const api = createTestApi({ parts: { reads: { letters } as unknown as Reads } })
    const [ann, bob] = [await api.tokenOf('viewer'), await api.tokenOf('analyst')]
    const asked = Array.from({ length: 20 }, () => api.ask('/v1/dead-letters', { token: ann }))
    expect((await Promise.race(asked)).status).toBe(429)
    await turn()
    expect(held).toHaveLength(2)
    expect((await api.ask('/v1/me', { token: bob })).status).toBe(200)
    const statuses = Promise.all(asked.map(async (one) => (await one).status))
    const freeing = setInterval(() => held.shift()?.(), 1)
    expect((await statuses).filter((status) => status === 200)).toHaveLength(18)
    clearInterval(freeing)
  })

  test('keeps nothing of who has nothing under way', async () => {
    const gate = createGate({ underWayMax: 1, waitingMax: 0, full: () => new Error('full') })
    await expect(gate.pass('ann', () => Promise.reject(new Error('mine')))).rejects.toThrow('mine')
    expect(await gate.pass('ann', async () => 1)).toBe(1)
  })
})
