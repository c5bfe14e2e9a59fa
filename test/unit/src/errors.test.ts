import { describe, expect, test } from 'vitest'
import { explain, TidegateError } from '../../../src/errors.ts'

describe('an error', () => {
  test('is told on one screen: what, why, what to do, and never a stack', () => {
    const error = new TidegateError('CODE', {
      message: 'it broke',
      retryable: false,
      hint: 'mend it',
      cause: new Error('why'),
    })
    expect(explain(error)).toBe('tidegate: it broke\n  cause: why\n  hint:  mend it\n  code:  CODE')
  })

  test('does not tell a cause that is no error', () => {
    const error = new TidegateError('CODE', {
      message: 'it',
      retryable: false,
      hint: 'mend',
      cause: { a: 1 },
    })
    expect(explain(error)).toBe('tidegate: it\n  hint:  mend\n  code:  CODE')
  })
})
