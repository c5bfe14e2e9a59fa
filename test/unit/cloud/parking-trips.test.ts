import { describe, expect, test } from 'vitest'
import { Guard } from '../../../cloud/protection/guard.ts'
import { silentLog } from '../../../src/log.ts'
import { Ledger, posted } from '../../support/cloud/cloud-events.ts'
import { failure, partitions, setUp, writing } from '../../support/cloud/test-pipeline.ts'
import { FakeClock, settled } from '../../support/fakes/clock.ts'
import { fakeGroupStates } from '../../support/fakes/group-states.ts'

const parking = { concurrency: 4, devicesMax: 100, eventsMax: 10_000, eventsMaxPerDevice: 10_000 }
const ways = {
  park: { onFailure: 'park', retry: ['1s', '5s', '30s', '2m'] },
  overtake: { onFailure: 'overtake', retry: ['5s', '30s', '5m', '30m'] },
} as const

/** A fleet with an event a second each, of a group whose handler fails for all of them for so long. Answers when it trips, and what that cost. */
async function failing(way: keyof typeof ways, fleet: number, seconds: number) {
  const clock = new FakeClock()
  const guard = new Guard({
    group: 'writer',
    instance: 'a',
    states: fakeGroupStates(clock),
    killSwitch: { after: 100, share: 0.5, windowMs: 60_000, pauseMs: 30_000 },
    ratePerSecond: undefined,
    membersNow: () => 1,
    clock,
    log: silentLog,
  })
  let isFailing = true
  const world = setUp(
    writing({
      ...ways[way],
      handle() {
        if (isFailing) throw failure(true)
      },
    }),
    { pipeline: { lanes: 4, batchMax: 200, gate: guard.gate, parking }, clock },
  )
  world.start('a')
  const ledger = new Ledger()
  let trippedAtS: number | undefined
  for (let second = 0; second < 60 && trippedAtS === undefined; second++) {
    isFailing = second < seconds
    for (let device = 0; device < fleet; device++)
      world.broker.post(posted(ledger.next(`d${device}`), partitions))
    await settled()
    if (guard.gate.closed) trippedAtS = second
    await clock.advance(1_000)
  }
  return { trippedAtS, letters: world.storage.dead().length }
}

describe('a group whose handler fails for its whole fleet', () => {
  test.each([10, 20])(
    'of %i devices trips two seconds later at the most than where everything is tried, by what waits behind them, and no letter is made (G5)',
    async (fleet) => {
      const overtaking = await failing('overtake', fleet, 60)
      const parked = await failing('park', fleet, 60)
      expect(parked.trippedAtS).toBeLessThanOrEqual((overtaking.trippedAtS ?? -2) + 2)
      expect(parked.letters).toBe(0)
    },
  )

  test.each([10, 20])('of %i devices for a moment does not trip', async (fleet) => {
    expect(await failing('overtake', fleet, 4)).toEqual({ trippedAtS: undefined, letters: 0 })
    expect(await failing('park', fleet, 4)).toEqual({ trippedAtS: undefined, letters: 0 })
  })
})
