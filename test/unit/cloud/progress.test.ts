import { expect, test } from 'vitest'
import { createProgress } from '../../../cloud/groups/progress.ts'
import { FakeClock } from '../../support/fakes/clock.ts'

test('progress is stuck only while there is work and nothing moves', async () => {
  const clock = new FakeClock()
  const progress = createProgress(clock, 1000)
  await clock.advance(5000)
  expect(progress.check(0).ok).toBe(true)
  await clock.advance(900)
  expect(progress.check(3).ok).toBe(true)
  await clock.advance(200)
  expect(progress.check(3)).toEqual({ ok: false, waiting: 3, stalledMs: 1100 })
  progress.moved()
  expect(progress.check(3).ok).toBe(true)
})
