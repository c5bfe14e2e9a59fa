import { beforeEach, expect, test } from 'vitest'
import type { Outbox } from '../../../edge/outbox/outbox.ts'
import { type Inspection, inspect } from '../../../edge/outbox/look/inspection.ts'
import { SimulatedDisk } from '../../support/fakes/simulated-disk.ts'
import { FakeClock, settled } from '../../support/fakes/clock.ts'
import { submission } from '../../support/edge/outbox-events.ts'
import { openTestOutbox } from '../../support/edge/test-outbox.ts'

const secondMs = 1000
const hourMs = 3600 * secondMs
let clock: FakeClock
let disk: SimulatedDisk

beforeEach(() => {
  clock = new FakeClock()
  disk = new SimulatedDisk()
})

function open(): Promise<Outbox> {
  return openTestOutbox({
    folder: disk,
    clock,
    random: () => 0.5,
    clockSettleMs: 60 * secondMs,
  })
}

async function pass(ms: number): Promise<void> {
  await clock.advance(ms)
  while (clock.waiting === 0) await settled()
}

async function look(looksMax?: number): Promise<Inspection> {
  const store = await disk.open()
  try {
    return await inspect(store, {
      devicesMax: 10,
      nowMs: clock.now(),
      ...(looksMax === undefined ? {} : { looksMax }),
    })
  } finally {
    await store.close()
  }
}

test('the age of what a stopped gateway has queued counts the time it has been stopped', async () => {
  const outbox = await open()
  await outbox.append(submission('d1', 'e1'))
  await pass(10 * secondMs)
  await outbox.close()
  clock.jump(3 * hourMs)

  const { lanes, devices } = await look()
  const age = { ageMs: 3 * hourMs + 10 * secondMs, ageAtLeast: false }
  expect(lanes.normal.oldest).toMatchObject(age)
  expect(devices[0]?.oldest).toMatchObject(age)
})

test.each([
  ['set back', -hourMs],
  ['years ahead', 500 * 24 * hourMs],
])('with a wall clock that is %s an age is what is certain, and marked as such', async (_, jumpMs) => {
  const outbox = await open()
  await outbox.append(submission('d1', 'e1'))
  await pass(10 * secondMs)
  await outbox.close()
  clock.jump(jumpMs)

  const age = { ageMs: 10 * secondMs, ageAtLeast: true }
  expect((await look()).lanes.normal.oldest).toMatchObject(age)
})

test('what came in while the time off was still to be believed is not made older by it', async () => {
  let outbox = await open()
  await outbox.append(submission('before', 'e1'))
  await outbox.close()
  clock.jump(3 * hourMs)
  outbox = await open()
  await outbox.append(submission('after', 'e2'))
  await pass(5 * secondMs)
  await outbox.close()

  const { devices } = await look()
  const ageOf = (deviceId: string) => devices.find((device) => device.deviceId === deviceId)?.oldest
  expect(ageOf('before')).toMatchObject({ ageMs: 3 * hourMs + 5 * secondMs, ageAtLeast: false })
  expect(ageOf('after')).toMatchObject({ ageMs: 5 * secondMs, ageAtLeast: true })
})

test('each device has its lanes and its oldest event told', async () => {
  const outbox = await open()
  await outbox.append(submission('pump', 'p1'))
  await pass(10 * secondMs)
  await outbox.append(submission('boiler', 'b1', { lane: 'high' }))
  await outbox.append(submission('boiler', 'b2'))
  await outbox.append(submission('boiler', 'b3', { lane: 'high' }))
  await pass(5 * secondMs)
  await outbox.close()

  const { devices } = await look()
  expect(devices).toMatchObject([
    {
      deviceId: 'boiler',
      events: 3,
      lanes: { high: { events: 2 }, normal: { events: 1 } },
      oldest: { sequence: 2, lane: 'high', ageMs: 5 * secondMs, ageAtLeast: false },
    },
    {
      deviceId: 'pump',
      events: 1,
      lanes: { high: { events: 0, bytes: 0 }, normal: { events: 1 } },
      oldest: { sequence: 1, lane: 'normal', ageMs: 15 * secondMs, ageAtLeast: false },
    },
  ])
  for (const { bytes, lanes } of devices)
    expect((lanes?.high.bytes ?? 0) + (lanes?.normal.bytes ?? 0)).toBe(bytes)
})

test('a device whose oldest event is not among the oldest of its lane is said to be so, whatever the backlog', async () => {
  const outbox = await open()
  for (const id of ['a1', 'a2', 'a3']) await outbox.append(submission('early', id))
  await outbox.append(submission('late', 'b1'))
  await outbox.append(submission('early', 'a4', { lane: 'high' }))
  await outbox.close()

  const [early, late] = (await look(2)).devices
  expect(early).toMatchObject({ lanes: { high: { events: 1 } }, oldest: { sequence: 1, ageAtLeast: false } })
  expect(late).toMatchObject({ deviceId: 'late', events: 1 })
  expect(late?.oldest).toBeUndefined()
  const [cut] = (await look(0)).devices
  expect(cut).not.toHaveProperty('lanes')
})
