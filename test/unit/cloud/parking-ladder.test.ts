import { describe, expect, test } from 'vitest'
import { posted } from '../../support/cloud/cloud-events.ts'
import { partitions } from '../../support/cloud/test-pipeline.ts'
import { ward } from '../../support/cloud/ward.ts'
import { settled } from '../../support/fakes/clock.ts'

const bounds = { concurrency: 4, devicesMax: 10_000, eventsMax: 1_000_000, eventsMaxPerDevice: 10_000 }

/** A device that sends an event a second, and a group that has the ladder which is the default of those that park. */
function sender() {
  const retry = ['1s', '5s', '30s', '2m']
  const world = ward({ retry }, { pipeline: { batchMax: 200, parking: bounds } })
  const { pipeline } = world.start('a')
  const send = async (seconds: number): Promise<void> => {
    for (let second = 0; second < seconds; second++) {
      world.post()
      await settled()
      await world.clock.advance(1_000)
    }
  }
  return { ...world, pipeline, send }
}

describe('an outage of what the events of one device need', () => {
  test('costs a letter for each whole ladder that it lasts, whatever waits behind: 3 of 600 in ten minutes (G5, G6)', async () => {
    const { state, send, clock, storage, effects, pipeline } = sender()
    await send(600)
    expect(storage.dead().map(({ attempts }) => attempts)).toEqual([5, 5, 5])
    state.fails = () => false
    await send(10)
    await clock.advance(130_000)
    expect(effects()).toEqual(Array.from({ length: 607 }, (_, index) => index + 4))
    expect(storage.dead()).toHaveLength(3)
    expect(pipeline.parked).toMatchObject({ retrying: 0, events: 0 })
  })

  test('that begins while the device catches up costs the one that meets it, which has one step; what comes behind has the whole ladder (G5, G6)', async () => {
    const { state, tried, post, start, clock, effects, storage } = ward({ retry: ['1s', '5s'] })
    start('a')
    const posts = [post(), post(), post(), post()]
    await settled()
    state.fails = (sequence) => sequence === 2 || sequence === 3
    await clock.advance(60_000)
    const attemptsAt = (sequence: number): number => tried.filter((one) => one.sequence === sequence).length
    // The first is tried once more with the second, which fails.
    expect(posts.map(attemptsAt)).toEqual([3, 2, 3, 1])
    expect(storage.dead()).toMatchObject([{ sequence: 2 }, { sequence: 3 }])
    expect(effects()).toEqual([1, 4])
  })
})

test('an event that comes from a rung has its step behind one that has succeeded, like any other (G5)', async () => {
  const { state, next, broker, start, clock, effects, storage } = ward({ retry: ['1s', '5s'] })
  start('a')
  let left = 2
  state.fails = () => left-- > 0
  broker.post(posted(next(), partitions))
  broker.post({ ...posted(next(), partitions), headers: { 'tidegate-attempt': 3 } })
  await settled()
  left = 0
  await clock.advance(500)
  state.fails = (sequence) => sequence === 2 && left++ === 0
  await clock.advance(10_000)
  expect(storage.dead()).toEqual([])
  expect(effects()).toEqual([1, 2])
})
