import { expect, test } from 'vitest'
import { killTargets, planFaults, type FaultWish, type PlannedFault } from '../../../dev/faults/plan.ts'
import { seededRandom } from '../../../dev/fleet/random.ts'

function plan(wish: Partial<FaultWish>, seed = 7): PlannedFault[] {
  const random = seededRandom(seed, 'faults')
  return planFaults({ forMs: 120_000, outageMs: 0, kills: [], random, env: {}, ...wish })
}

test('the seed decides every kill, and kills do not overlap', () => {
  const kills = killTargets
  expect(plan({ kills }, 7)).toEqual(plan({ kills }, 7))
  expect(plan({ kills }, 7)).not.toEqual(plan({ kills }, 8))
  for (let seed = 0; seed < 200; seed += 1) {
    const planned = plan({ kills }, seed)
    expect(new Set(planned.map((kill) => kill.kind === 'kill' && kill.target)).size).toBe(4)
    planned.forEach((kill, index) => {
      const next = planned[index + 1]
      expect(kill.atMs + kill.forMs).toBeLessThan(next?.atMs ?? 120_000)
    })
  }
})

test('the outage lies in the middle', () => {
  expect(plan({ forMs: 30_000, outageMs: 10_000 })).toMatchObject([{ atMs: 10_000, forMs: 10_000 }])
  expect(plan({ forMs: 30_000 })).toEqual([])
  expect(plan({ forMs: undefined })).toEqual([])
})

test.each([
  ['as long as its run', 20_000, 'which lasts 20 s'],
  ['longer than its run', 10_000, 'which lasts 10 s'],
  ['of a run without an end', undefined, 'which has no end'],
])('an outage %s is refused', (_, forMs, told) => {
  expect(() => plan({ forMs, outageMs: 20_000 })).toThrow(
    expect.objectContaining({
      code: 'OPTIONS_INVALID',
      message: expect.stringMatching(new RegExp(`20 s.* must be shorter than the run .*${told}`)),
    }),
  )
})

test.each([
  ['broker', 'TIDEGATE_AMQP_URL'],
  ['database', 'TIDEGATE_PG_URL'],
] as const)('to kill a %s that is given is refused, for it would not happen', (target, variable) => {
  const env = { [variable]: 'amqp://example' }
  expect(() => plan({ kills: ['edge', target], env })).toThrow(
    expect.objectContaining({
      code: 'OPTIONS_INVALID',
      message: `the ${target} is given by ${variable}, and is not ours to kill`,
    }),
  )
  expect(plan({ kills: ['edge', 'cloud'], env })).toHaveLength(2)
})

test('an outage of a broker given as amqps:// is refused, for the uplink would stay up', () => {
  const env = { TIDEGATE_AMQP_URL: 'amqps://broker.example' }
  expect(() => plan({ outageMs: 20_000, env })).toThrow(
    expect.objectContaining({ code: 'OPTIONS_INVALID', message: expect.stringContaining('amqps://') }),
  )
  expect(plan({ outageMs: 0, env })).toEqual([])
  expect(plan({ outageMs: 20_000, env: { TIDEGATE_AMQP_URL: 'amqp://broker.example' } })).toHaveLength(1)
})
