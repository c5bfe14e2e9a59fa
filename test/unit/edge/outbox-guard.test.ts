import { beforeEach, describe, expect, test } from 'vitest'
import { headKey, laneGuard, present } from '../../../edge/outbox/layout/keys.ts'
import { silentOutboxObserver } from '../../../edge/outbox/observer.ts'
import { openOutbox } from '../../../edge/outbox/open.ts'
import { silentLog } from '../../../src/log.ts'
import { submission } from '../../support/edge/outbox-events.ts'
import { FakeClock } from '../../support/fakes/clock.ts'
import { SimulatedDisk } from '../../support/fakes/simulated-disk.ts'

describe('the key that always lives between the lanes', () => {
  let disk: SimulatedDisk

  beforeEach(() => {
    disk = new SimulatedDisk()
  })

  /** Opens an outbox, makes one event durable and closes it. */
  async function run(id: string): Promise<void> {
    const outbox = await openOutbox({
      folder: disk,
      gateway: 'gw-1',
      clock: new FakeClock(),
      random: () => 0.5,
      log: silentLog,
      observer: silentOutboxObserver,
    })
    await outbox.append(submission('a', id))
    await outbox.close()
  }

  test('is written together with the first head', async () => {
    const together: boolean[] = []
    disk.faults.landed = (operations) => {
      const keys = operations.map(({ key }) => key)
      if (keys.includes(laneGuard)) together.push(keys.includes(headKey))
    }
    await run('e1')
    expect(together).toEqual([true])
    expect(disk.get(laneGuard)).toBe(present)
    await run('e2')
    expect(together).toEqual([true])
  })

  test('is written again after damage, which may have taken it', async () => {
    await run('e1')
    disk.damage((key) => key === headKey || key === laneGuard)
    await run('e2')
    expect(disk.get(laneGuard)).toBe(present)
  })
})
