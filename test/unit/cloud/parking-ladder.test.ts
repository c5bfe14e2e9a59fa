import { describe, expect, test } from 'vitest'
import { cloudConfigSchema } from '../../../cloud/config.ts'
import { consumerSettings } from '../../../cloud/settings.ts'
import { settled } from '../../support/fakes/clock.ts'
import { ward } from '../../support/cloud/ward.ts'

const { parkedLadderMs } = consumerSettings(cloudConfigSchema.parse({ instance: 'i' })).defaults
const bounds = { concurrency: 4, devicesMax: 10_000, eventsMax: 1_000_000, eventsMaxPerDevice: 10_000 }

/** A device that sends an event a second, and a group with the ladder that is configured by default. */
function sender() {
  const world = ward({ retry: parkedLadderMs ?? [] }, { pipeline: { batchMax: 200, parking: bounds } })
  const { pipeline } = world.start('a')
  return {
    ...world,
    pipeline,
    async send(seconds: number): Promise<void> {
      for (let second = 0; second < seconds; second++) {
        world.post()
        await settled()
        await world.clock.advance(1_000)
      }
    },
  }
}

describe('an outage of what the events of one device need', () => {
  test('costs a letter for each whole ladder that it lasts, whatever waits behind: 3 of 600 in ten minutes (G5, G6)', async () => {
    const { state, send, clock, storage, effects, pipeline } = sender()
    await send(600)
    expect(storage.dead().map(({ attempts }) => attempts)).toEqual([5, 5, 5])
    state.fails = () => false
    await send(60)
    await clock.advance(180_000)
    expect(effects()).toEqual(Array.from({ length: 657 }, (_, index) => index + 4))
    expect(storage.dead()).toHaveLength(3)
    expect(pipeline.parked).toMatchObject({ retrying: 0, events: 0 })
  })

  test('that comes and goes costs what one whole ladder does each time, and one letter more', async () => {
    const { state, send, clock, storage } = sender()
    // Behind a success in the same stay an event that fails has one step, and what fails behind that the whole ladder again.
    let left = 0
    state.fails = () => left > 0
    for (let times = 0; times < 5; times++) {
      left = 1
      await send(4)
      left = 0
      await send(56)
    }
    await clock.advance(60_000)
    expect(storage.dead()).toEqual([])
    left = 1
    await send(170)
    left = 0
    await send(1)
    await clock.advance(180_000)
    expect(storage.dead()).toHaveLength(1)
  })
})
