import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { postgresStorage } from '../../../cloud/database/storage-postgres.ts'
import { postgresParking } from '../../../cloud/parking/parking-postgres.ts'
import { Ledger } from '../../support/cloud/cloud-events.ts'
import { deedOf, type DeedsBench, effects, openDeedsBench } from '../../support/cloud/deeds-bench.ts'
import { weekPasses } from '../../support/cloud/inbox-claims.ts'

const never = new AbortController().signal
const until = (check: () => Promise<void>): Promise<void> =>
  vi.waitFor(check, { timeout: 20_000, interval: 50 })

/** The first of a device that fails waits for an operator, and what comes of it later behind that. */
const holding = effects
  .replace(', retryable: false', '')
  .replace("types: ['#'],", "types: ['#'], retry: ['20ms'], then: 'hold',")

let bench: DeedsBench
beforeEach(async () => {
  bench = await openDeedsBench()
})
afterEach(() => bench.close())

const parked = (): Promise<{ state: string; events: number }[]> =>
  bench.rows(
    `select state, (select count(*)::integer from tidegate.parked_events where device = d.device) as events
     from tidegate.parked_devices as d`,
  )

describe('a dead letter of what was parked', () => {
  test.each([
    ['in this week', 0],
    ['last week', 1],
    ['two weeks ago', 2],
  ])(
    'has its effect when it is replayed, and once, also where it came to wait %s (G4, G5)',
    async (_, weeks) => {
      const consumers = [{ module: bench.module(holding) }]
      const cloud = await bench.startEffects({ consumers })
      const ledger = new Ledger()
      const events = [ledger.next('device-1'), ledger.next('device-1')]
      await bench.breakDevice('device-1')
      await bench.publish(events)
      await until(async () => expect(await parked()).toEqual([{ state: 'held', events: 2 }]))
      await cloud.stop()
      for (let week = 0; week < weeks; week++) await weekPasses({ query: (sql: string) => bench.rows(sql) })
      await bench.startEffects({ consumers })
      await postgresStorage(bench.database).transaction(
        (tx) => postgresParking(tx).skip('effects', { device: 'device-1' }, 'all'),
        never,
      )
      await until(async () => {
        expect(await parked()).toEqual([])
        expect(await bench.letterStates()).toHaveLength(2)
      })
      await bench.mendDevice('device-1')
      const { replay } = await bench.deeds.replay(deedOf({ filter: { group: 'effects' } }))
      await until(async () => expect((await bench.deeds.replayState(replay)).endedAt).toBeDefined())
      expect(await bench.deeds.replayState(replay)).toMatchObject({ sent: 2, resolved: 2, failed: 0 })
      expect((await bench.effects()).map(({ sequence }) => sequence)).toEqual([1, 2])
      // Copies that come later are repeats again: what follows them has been handled.
      await bench.publish([...events, ledger.next('device-1')])
      await until(async () => expect(await bench.effects()).toHaveLength(3))
      expect((await bench.effects()).map(({ sequence }) => sequence)).toEqual([1, 2, 3])
    },
  )
})
