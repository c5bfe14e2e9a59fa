import { expect, test } from 'vitest'
import type { Group } from '../../../cloud/groups/group.ts'
import { readiness } from '../../../cloud/ops/readiness.ts'
import { TidegateError } from '../../../src/errors.ts'

test('a group that is held says by what, why, and what to do about it', () => {
  const held = new TidegateError('DATABASE_DENIED', {
    message: 'the database at db:5432/x does not let our user do what it must: permission denied (42501)',
    retryable: false,
    hint: 'give it its rights back',
  })
  const group = {
    name: 'history',
    progress: () => ({ ok: true, waiting: 3, stalledMs: 0 }),
    deliveries: { subscribed: true },
    former: { draining: 0, drained: 0 },
    heldBy: held,
  } as unknown as Group
  const checks = readiness({
    groups: [group],
    databaseFault: () => `${held.code}: ${held.message}`,
    brokersUp: () => ({}),
    findings: () => undefined,
    tls: { daysLeft: () => ({}), faulty: () => ({}) },
  })
  expect(checks['group.history']).toEqual({
    ok: false,
    detail: `3 in flight, held by DATABASE_DENIED: ${held.message}; give it its rights back`,
  })
  expect(checks['database']).toEqual({ ok: false, detail: `DATABASE_DENIED: ${held.message}` })
})
