import { describe, expect, test } from 'vitest'
import { decide } from '../../../cloud/pipeline/retry.ts'
import { TidegateError } from '../../../src/errors.ts'

const error = (code: string, retryable: boolean): TidegateError =>
  new TidegateError(code, { message: code, retryable, hint: '' })

const ladder = [5_000, 30_000]

describe('decide', () => {
  test.each([
    ['nothing', undefined, 1, { kind: 'ack' }],
    ['a retryable error', error('X', true), 1, { kind: 'retry', delayMs: 5_000 }],
    ['a retryable error', error('X', true), 2, { kind: 'retry', delayMs: 30_000 }],
    ['a retryable error', error('X', true), 3, { kind: 'dead', code: 'X' }],
    ['a hopeless error', error('X', false), 1, { kind: 'dead', code: 'X' }],
    ['an unknown error', new TypeError('x'), 1, { kind: 'retry', delayMs: 5_000 }],
    ['something thrown', 'a string', 3, { kind: 'dead', code: 'UNEXPECTED' }],
    [
      'an error that says so itself',
      Object.assign(new Error('x'), { retryable: false, code: 'MINE' }),
      1,
      { kind: 'dead', code: 'MINE' },
    ],
    ['the database’s outage', error('DATABASE_UNREACHABLE', true), 99, { kind: 'wait' }],
    [
      'a handler’s own connection',
      Object.assign(new Error('x'), { code: 'ECONNREFUSED' }),
      1,
      { kind: 'retry', delayMs: 5_000 },
    ],
  ])('%s: %o on attempt %i', (_, thrown, attempt, decision) => {
    expect(decide(thrown, attempt, ladder)).toEqual(decision)
  })
})
