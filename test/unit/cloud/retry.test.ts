import { describe, expect, test } from 'vitest'
import {
  decide,
  type DecidingConsumer,
  isOutage,
  jittered,
  waitedMsOf,
} from '../../../cloud/pipeline/retry.ts'
import { TidegateError } from '../../../src/errors.ts'

const error = (code: string, retryable: boolean): TidegateError =>
  new TidegateError(code, { message: code, retryable, hint: '' })

const deciding = { ladderMs: [5_000, 30_000], final: new Set(['SITE_UNKNOWN']), schemaWaitMs: 3_600_000 }

type Kind = 'overtake' | 'park' | 'hold'

const by: Record<Kind, DecidingConsumer> = {
  overtake: { ...deciding, parks: false, ladderEnd: 'skip' },
  park: { ...deciding, parks: true, ladderEnd: 'skip' },
  hold: { ...deciding, parks: true, ladderEnd: 'hold' },
}
const said = (message: string, more: object): Error => Object.assign(new Error(message), more)
const dead = { kind: 'dead' }
const retry = (delayMs: number) => ({ kind: 'retry', delayMs })
const park = (delayMs: number) => ({ kind: 'park', delayMs })

describe('decide', () => {
  test.each<[string, unknown, number, Record<Kind, object>]>([
    [
      'a retryable error',
      error('X', true),
      1,
      { overtake: retry(5_000), park: park(5_000), hold: park(5_000) },
    ],
    [
      'a retryable error',
      error('X', true),
      2,
      { overtake: retry(30_000), park: park(30_000), hold: park(30_000) },
    ],
    ['a retryable error', error('X', true), 3, { overtake: dead, park: dead, hold: { kind: 'hold' } }],
    ['a hopeless error', error('X', false), 1, { overtake: dead, park: dead, hold: dead }],
    ['a hopeless error', error('X', false), 3, { overtake: dead, park: dead, hold: dead }],
    [
      'an unknown error',
      new TypeError('x'),
      1,
      { overtake: retry(5_000), park: park(5_000), hold: park(5_000) },
    ],
    ['something thrown', 'a string', 3, { overtake: dead, park: dead, hold: { kind: 'hold' } }],
    [
      'a handler that hung',
      error('HANDLER_TIMEOUT', true),
      1,
      { overtake: retry(5_000), park: park(5_000), hold: park(5_000) },
    ],
    [
      'a code that is final',
      said('x', { code: 'SITE_UNKNOWN' }),
      1,
      { overtake: dead, park: dead, hold: dead },
    ],
    [
      'an error that says so itself',
      said('x', { retryable: false, code: 'MINE' }),
      1,
      { overtake: dead, park: dead, hold: dead },
    ],
    [
      'a handler’s own connection',
      said('x', { code: 'ECONNREFUSED' }),
      1,
      { overtake: retry(5_000), park: park(5_000), hold: park(5_000) },
    ],
  ])('%s: %o on attempt %i', (_, thrown, attempt, decisions) => {
    for (const kind of Object.keys(by) as Kind[])
      expect(
        decide(thrown, { attempt, waits: 'parked' as const, recovering: false, waitedMs: 0 }, by[kind]),
      ).toEqual(decisions[kind])
  })

  test('parks nothing of which it is not known whose it is, and no replay', () => {
    const unknown = { attempt: 1, waits: 'nowhere' as const, recovering: false, waitedMs: 0 }
    expect(decide(error('X', true), unknown, by.overtake)).toEqual(retry(5_000))
    expect(decide(error('X', true), unknown, by.hold)).toEqual(dead)
  })

  test('has what a replay has sent out of history wait on a rung, whatever its group does with others', () => {
    const replayed = { attempt: 1, waits: 'on a rung' as const, recovering: false, waitedMs: 0 }
    for (const kind of Object.keys(by) as Kind[])
      expect(decide(error('X', true), replayed, by[kind])).toEqual(retry(5_000))
    expect(decide(error('X', true), { ...replayed, attempt: 9 }, by.hold)).toEqual(dead)
  })

  test('gives what fails behind one that has succeeded the first step of the ladder alone', () => {
    const behind = { attempt: 1, waits: 'parked' as const, recovering: true, waitedMs: 0 }
    expect(decide(error('X', true), behind, by.park)).toEqual(park(5_000))
    expect(decide(error('X', true), { ...behind, attempt: 2 }, by.park)).toEqual(dead)
    expect(decide(error('X', true), { ...behind, attempt: 2 }, by.hold)).toEqual({ kind: 'hold' })
  })

  test('lets what waits for a schema wait until its time is over, at the last step when it has climbed the ladder (G5)', () => {
    for (const code of ['SCHEMA_UNKNOWN', 'SCHEMA_NEWER']) {
      const awaited = error(code, true)
      const at = (attempt: number, waitedMs: number, more: object = {}) =>
        [by.overtake, by.park, by.hold].map((consumer) =>
          decide(awaited, { attempt, waits: 'parked', recovering: false, waitedMs, ...more }, consumer),
        )
      expect(at(1, 0)).toEqual([retry(5_000), park(5_000), park(5_000)])
      expect(at(40, 3_599_999)).toEqual([retry(30_000), park(30_000), park(30_000)])
      expect(at(2, 0, { recovering: true })).toEqual([retry(30_000), park(30_000), park(30_000)])
      expect(at(3, 3_600_000)).toEqual([dead, dead, { kind: 'hold' }])
      expect(at(1000, 0)).toEqual([dead, dead, { kind: 'hold' }])
      expect(
        decide(
          awaited,
          { attempt: 1, waits: 'parked', recovering: false, waitedMs: 0 },
          { ...by.park, final: new Set([code]) },
        ),
      ).toEqual(dead)
      expect(
        decide(error(code, false), { attempt: 1, waits: 'parked', recovering: false, waitedMs: 0 }, by.park),
      ).toEqual(dead)
    }
  })

  test('counts the wait since it was parked, and of what comes back from rungs the rungs', () => {
    expect(waitedMsOf({ attempt: 1, arrivedAtMs: 100 }, [5_000, 30_000], 100)).toBe(0)
    expect(waitedMsOf({ attempt: 2, arrivedAtMs: 100 }, [5_000, 30_000], 100)).toBe(5_000)
    expect(waitedMsOf({ attempt: 5, arrivedAtMs: 100 }, [5_000, 30_000], 100)).toBe(95_000)
    expect(waitedMsOf({ attempt: 2, arrivedAtMs: 100 }, [5_000, 30_000], 90_100)).toBe(90_000)
    expect(waitedMsOf({ attempt: 3, arrivedAtMs: 100 }, [], 100)).toBe(0)
  })

  test('is not asked about an outage, which burns no attempt', () => {
    expect(isOutage(error('DATABASE_UNREACHABLE', true))).toBe(true)
    expect(isOutage(error('SIDING_UNAVAILABLE', true))).toBe(true)
    expect(isOutage(error('PARKING_FULL', false))).toBe(false)
    expect(isOutage(Object.assign(new Error('x'), { code: 'DATABASE_UNREACHABLE' }))).toBe(false)
    expect(isOutage(error('X', true))).toBe(false)
  })
})

test('what failed together is not tried again together: a delay is within a fifth of it', () => {
  expect([0, 0.5, 0.999].map((random) => jittered(10_000, () => random))).toEqual([8_000, 10_000, 11_996])
})
