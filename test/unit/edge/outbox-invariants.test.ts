import { afterEach, beforeEach, expect, test } from 'vitest'
import type { Outbox } from '../../../edge/outbox/outbox.ts'
import { submission } from '../../support/edge/outbox-events.ts'
import { openTestOutbox } from '../../support/edge/test-outbox.ts'
import { FakeClock, settled } from '../../support/fakes/clock.ts'
import { SimulatedDisk } from '../../support/fakes/simulated-disk.ts'

let clock: FakeClock
let disk: SimulatedDisk
let outbox: Outbox

beforeEach(async () => {
  clock = new FakeClock()
  disk = new SimulatedDisk()
  outbox = await open()
})
afterEach(() => outbox.close())

function open(): Promise<Outbox> {
  return openTestOutbox({ folder: disk, clock, random: () => 0.5 })
}

/** What is queued, in the order of leaving. */
async function queued(): Promise<string[]> {
  outbox.rewind()
  return (await outbox.take(100)).map(({ id, sequence }) => `${id} at ${sequence}`)
}

test('before its write has landed nobody is answered and nothing in memory changes, and what comes meanwhile shares the next write (I1, I3)', async () => {
  let land!: () => void
  const landing = new Promise<void>((resolve) => {
    land = resolve
  })
  let writes = 0
  disk.faults.pause = async (what) => {
    if (what !== 'write') return
    writes += 1
    await landing
  }
  const answered: string[] = []
  const append = async (id: string): Promise<void> => {
    await outbox.append(submission('a', id))
    answered.push(id)
  }
  const first = append('e1')
  await settled()
  const meanwhile = [append('e2'), append('e3'), append('e4')]
  await settled()
  expect(answered).toEqual([])
  expect(outbox.stats().depth.normal).toBe(0)
  land()
  await Promise.all([first, ...meanwhile])
  expect(writes).toBe(2)
  expect(outbox.stats().depth.normal).toBe(4)
})

test.each([
  ['had landed', true, 'duplicate'],
  ['had not landed', false, 'accepted'],
] as const)(
  'a write that failed and %s costs a reload, and no number is wrong (I2)',
  async (_, landed, answer) => {
    await outbox.append(submission('a', 'e1'))
    disk.faults.beforeWrite = () => {
      delete disk.faults.beforeWrite
      return { fail: true, landed }
    }
    expect(await clock.during(outbox.append(submission('a', 'e2')))).toMatchObject({ kind: answer })
    expect(outbox.stats().depth.normal).toBe(2)
    await outbox.append(submission('a', 'e3'))
    expect(await queued()).toEqual(['e1 at 1', 'e2 at 2', 'e3 at 3'])
    await outbox.close()
    outbox = await open()
    expect(outbox.stats().depth.normal).toBe(3)
  },
)

test('what is still in flight when a later one is released is found after a power cut (I6)', async () => {
  for (const id of ['e1', 'e2', 'e3']) await outbox.append(submission('a', id))
  const [, second, third] = await outbox.take(3)
  await outbox.release([second, third].filter((event) => event !== undefined))
  // An append is synced, and with it the release before.
  await outbox.append(submission('a', 'e4'))
  disk.crash()
  await outbox.close()
  outbox = await open()
  expect(await queued()).toEqual(['e1 at 1', 'e4 at 4'])
})
