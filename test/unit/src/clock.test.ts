import { setTimeout as delay } from 'node:timers/promises'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'

// Fake timers do not reach it.
vi.mock('node:timers/promises', { spy: true })
// Another file of this worker may have imported the clock already, and that one knows no spy.
vi.resetModules()
const { systemClock } = await import('../../../src/clock.ts')

const dayMs = 86_400_000
/** Node: "If delay is larger than 2147483647, it is set to 1." */
const nodeTimerMsMax = 2_147_483_648

beforeEach(() => void vi.useFakeTimers())
afterEach(() => {
  vi.useRealTimers()
  vi.mocked(delay).mockReset()
})

test('a task that is due in 60 days runs in 60 days', async () => {
  const task = vi.fn<() => void>()
  systemClock.after(60 * dayMs, task)
  await vi.advanceTimersByTimeAsync(60 * dayMs - 1)
  expect(task).not.toHaveBeenCalled()
  await vi.advanceTimersByTimeAsync(1)
  expect(task).toHaveBeenCalledOnce()
})

test('a task that is cancelled after 30 days never runs', async () => {
  const task = vi.fn<() => void>()
  const timer = systemClock.after(60 * dayMs, task)
  await vi.advanceTimersByTimeAsync(30 * dayMs)
  timer.cancel()
  await vi.advanceTimersByTimeAsync(60 * dayMs)
  expect(task).not.toHaveBeenCalled()
})

test('a sleep of 60 days lasts 60 days', async () => {
  const delays: number[] = []
  vi.mocked(delay).mockImplementation(async (delayMs = 0) => void delays.push(delayMs))
  await systemClock.sleep(60 * dayMs)
  expect(delays.reduce((sum, delayMs) => sum + delayMs)).toBe(60 * dayMs)
  expect(Math.max(...delays)).toBeLessThan(nodeTimerMsMax)
})

test('a sleep that is aborted ends at once', async () => {
  const controller = new AbortController()
  const slept = systemClock.sleep(60 * dayMs, controller.signal)
  controller.abort()
  await expect(slept).rejects.toMatchObject({ name: 'AbortError' })
})
