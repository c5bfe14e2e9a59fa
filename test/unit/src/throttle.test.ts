import { pino } from 'pino'
import { expect, test } from 'vitest'
import { createThrottledWarn } from '../../../src/throttle.ts'
import { FakeClock } from '../../support/fakes/clock.ts'

test('of many warnings alike one an interval is logged, and the next says how many it speaks for', async () => {
  const lines: Record<string, unknown>[] = []
  const log = pino(
    { base: {} },
    { write: (line: string) => void lines.push(JSON.parse(line) as Record<string, unknown>) },
  )
  const clock = new FakeClock()
  const warn = createThrottledWarn(log, clock, 10_000)
  for (const device of ['a', 'a', 'a', 'b']) warn(device, 'connection refused', { device })
  warn('a', 'connection closed', { device: 'a' })
  expect(lines.map(({ msg, device }) => `${String(msg)} ${String(device)}`)).toEqual([
    'connection refused a',
    'connection refused b',
    'connection closed a',
  ])
  await clock.advance(10_000)
  warn('a', 'connection refused', { device: 'a' })
  expect(lines.at(-1)).toMatchObject({ device: 'a', alikeBefore: 2 })
  expect(lines[0]).not.toHaveProperty('alikeBefore')
})
