import { expect, test } from 'vitest'
import { Gone } from '../../../edge/outbox/layout/gone.ts'
import { endRemoval } from '../../../edge/outbox/writer/removal.ts'

test('what left undelivered is forgotten once its write has ended, however long the uplink is away (G7)', () => {
  const core = {
    removing: new Set([1, 2, 3]),
    removal: undefined,
    reading: undefined,
    state: { gone: new Gone() },
  }
  endRemoval(core)
  expect(core.removing.size).toBe(0)
})

test('what left undelivered is remembered for a read that may have met it (I8)', () => {
  const core = {
    removing: new Set([1]),
    removal: undefined,
    reading: { high: 0, normal: 0 },
    state: { gone: new Gone() },
  }
  endRemoval(core)
  expect(core.removing.size).toBe(1)
})
