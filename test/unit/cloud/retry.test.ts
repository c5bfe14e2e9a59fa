import { describe, expect, test } from 'vitest'
import { decide, isOutage } from '../../../cloud/pipeline/retry.ts'
import { TidegateError } from '../../../src/errors.ts'

const error = (code: string, retryable: boolean): TidegateError =>
  new TidegateError(code, { message: code, retryable, hint: '' })

const ladder = [5_000, 30_000]

describe('decide', () => {
  test.each([
    ['a retryable error', error('X', true), 1, { kind: 'retry', delayMs: 5_000 }],
    ['a retryable error', error('X', true), 2, { kind: 'retry', delayMs: 30_000 }],
    ['a retryable error', error('X', true), 3, { kind: 'dead' }],
    ['a hopeless error', error('X', false), 1, { kind: 'dead' }],
    ['an unknown error', new TypeError('x'), 1, { kind: 'retry', delayMs: 5_000 }],
    ['something thrown', 'a string', 3, { kind: 'dead' }],
    [
      'an error that says so itself',
      Object.assign(new Error('x'), { retryable: false, code: 'MINE' }),
      1,
      { kind: 'dead' },
    ],
    [
      'a handler’s own connection',
      Object.assign(new Error('x'), { code: 'ECONNREFUSED' }),
      1,
      { kind: 'retry', delayMs: 5_000 },
    ],
  ])('%s: %o on attempt %i', (_, thrown, attempt, decision) => {
    expect(decide(thrown, attempt, ladder)).toEqual(decision)
  })

  test('is not asked about an outage, which burns no attempt', () => {
    expect(isOutage(error('DATABASE_UNREACHABLE', true))).toBe(true)
    expect(isOutage(error('SIDING_UNAVAILABLE', true))).toBe(true)
    expect(isOutage(Object.assign(new Error('x'), { code: 'DATABASE_UNREACHABLE' }))).toBe(false)
    expect(isOutage(error('X', true))).toBe(false)
  })
})
