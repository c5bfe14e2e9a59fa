import { expect, test } from 'vitest'
import { createScope } from '../../../src/lifecycle.ts'

test('a scope closes what it owns once, newest first, and goes on when one fails', async () => {
  const closed: string[] = []
  const scope = createScope()
  scope.own({ close: () => void closed.push('first') })
  scope.own({ close: () => Promise.reject(new Error('stuck')) })
  scope.own({ close: () => void closed.push('last') })
  await expect(scope.close()).rejects.toThrow('stuck')
  await scope.close().catch(() => {})
  expect(closed).toEqual(['last', 'first'])
})
