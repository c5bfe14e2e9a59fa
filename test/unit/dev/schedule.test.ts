import { expect, test } from 'vitest'
import type { PlannedFault } from '../../../dev/faults/plan.ts'
import { untilOver, type Schedule } from '../../../dev/faults/schedule.ts'
import { TidegateError } from '../../../src/errors.ts'
import { FakeClock, settled } from '../../support/fakes/clock.ts'

const clock = new FakeClock()
const quitting = new AbortController()

function kill(atMs: number): PlannedFault {
  return { kind: 'kill', target: 'cloud', atMs, forMs: 500 }
}

function schedule(parts: Partial<Schedule>): Schedule {
  return {
    forMs: 60_000,
    faults: [],
    saboteur: { inject: (fault, signal) => clock.sleep(fault.forMs, signal) },
    finished: new Promise(() => {}),
    clock,
    ...parts,
  }
}

/** What has become of it so far. */
function follow(running: Promise<void>): { outcome: unknown } {
  const seen: { outcome: unknown } = { outcome: 'running' }
  running.then(
    () => (seen.outcome = 'over'),
    (error: unknown) => (seen.outcome = error),
  )
  return seen
}

test('a run lasts its time, and as much longer as its last fault takes to be undone', async () => {
  const run = follow(untilOver(schedule({ faults: [kill(59_900)] }), quitting.signal))
  await clock.advance(60_000)
  expect(run.outcome).toBe('running')
  await clock.advance(400)
  expect(run.outcome).toBe('over')
})

test('a program that does not come back ends the run at once, with the reason', async () => {
  const broken = new TidegateError('PROGRAM_START_FAILED', { message: 'gone', retryable: false, hint: '' })
  const saboteur: Schedule['saboteur'] = { inject: () => Promise.reject(broken) }
  const run = follow(untilOver(schedule({ faults: [kill(10_000), kill(30_000)], saboteur }), quitting.signal))
  await clock.advance(10_000)
  expect(run.outcome).toBe(broken)
  expect(clock.waiting).toBe(0)
})

test('series that end before the time is up end the run, and nothing waits on', async () => {
  const run = follow(untilOver(schedule({ finished: clock.sleep(5000) }), quitting.signal))
  await clock.advance(5000)
  expect(run.outcome).toBe('over')
  expect(clock.waiting).toBe(0)
})

test('who quits ends it at once, in the middle of a fault', async () => {
  const leaving = new AbortController()
  const run = follow(untilOver(schedule({ faults: [kill(10_000)] }), leaving.signal))
  await clock.advance(10_200)
  leaving.abort()
  await settled()
  expect(run.outcome).toBe('over')
})
