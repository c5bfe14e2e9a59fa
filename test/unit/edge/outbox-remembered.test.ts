import { hash } from 'node:crypto'
import { expect, test } from 'vitest'
import type { Outbox, Submission } from '../../../edge/outbox/outbox.ts'
import { IdSet } from '../../../edge/outbox/rules/id-set.ts'
import { submission } from '../../support/edge/outbox-events.ts'
import { openTestOutbox } from '../../support/edge/test-outbox.ts'
import { FakeClock, settled } from '../../support/fakes/clock.ts'
import { SimulatedDisk } from '../../support/fakes/simulated-disk.ts'

const submissions = Array.from({ length: 40 }, (_, index) => submission('a', `e${index}`))

/** With generations of twenty IDs. */
function open(disk: SimulatedDisk, clock = new FakeClock()): Promise<Outbox> {
  return openTestOutbox({ folder: disk, clock, random: () => 0.5, dedup: { ageMs: 1e9, count: 160 } })
}

async function appendEach(outbox: Outbox, some: readonly Submission[]): Promise<void> {
  for (const one of some) await outbox.append(one)
}

async function expectRepeats(outbox: Outbox): Promise<void> {
  for (const one of submissions) expect(await outbox.append(one)).toEqual({ kind: 'duplicate' })
}

function keysOf(disk: SimulatedDisk, generation: number): { unsorted: number; sorted: number } {
  const [unsorted = 0, sorted = 0] = ['d', 's'].map(
    (letter) => disk.keysStartingWith(`${letter}!0000000${generation}!`).length,
  )
  return { unsorted, sorted }
}

test('a generation that a stop left unsorted is known before it is sorted, and sorted after the outbox is open (G4, I9)', async () => {
  const disk = new SimulatedDisk()
  const outbox = await open(disk)
  await appendEach(outbox, submissions)
  await outbox.close()
  expect(keysOf(disk, 1)).toEqual({ unsorted: 20, sorted: 0 })

  const clock = new FakeClock()
  const again = await open(disk, clock)
  expect(again.stats().rememberedIds).toBe(40)
  await expectRepeats(again)
  expect(keysOf(disk, 1)).toEqual({ unsorted: 20, sorted: 0 })
  await clock.advance(1000)
  await settled()
  expect(keysOf(disk, 1)).toEqual({ unsorted: 0, sorted: 1 })
  await expectRepeats(again)
  await again.close()
})

test('no more than two generations that a stop left unsorted are read into memory (G4, I9)', async () => {
  const disk = new SimulatedDisk()
  const outbox = await open(disk)
  await appendEach(outbox, [...submissions, submission('a', 'one more')])
  await outbox.close()
  expect([1, 2].map((generation) => keysOf(disk, generation).unsorted)).toEqual([20, 20])

  const again = await open(disk)
  await expectRepeats(again)
  expect([1, 2].map((generation) => keysOf(disk, generation).unsorted)).toEqual([0, 20])
  await again.close()
})

test('an ID is remembered through the sorting of its generation, wherever the power fails in it (G4, I9)', async () => {
  for (let writes = 0; writes < 6; writes++) {
    const disk = new SimulatedDisk({ survivors: () => 0 })
    const clock = new FakeClock()
    const outbox = await open(disk, clock)
    await appendEach(outbox, submissions)
    let left = writes
    disk.faults.beforeWrite = (operations) => {
      const sorting = operations.some(({ key }) => key.startsWith('s!') || key.startsWith('d!'))
      return sorting && left-- <= 0 ? { fail: true, landed: false } : { fail: false, landed: true }
    }
    const closing = settled().then(() => disk.crash())
    await clock.advance(1000)
    await closing
    await outbox.close()
    disk.faults = { survivors: () => 0 }
    const again = await open(disk)
    await expectRepeats(again)
    await again.close()
  }
})

test('a set of hashes holds what was added, exactly, and gives it back in order', () => {
  const hashes = Array.from({ length: 5000 }, (_, index) => hash('sha256', `${index}`, 'hex').slice(0, 32))
  const set = new IdSet()
  for (const one of hashes) set.add(one)
  for (const one of hashes.slice(0, 100)) set.add(one)
  expect(set.size).toBe(5000)
  expect(hashes.every((one) => set.has(one))).toBe(true)
  expect(set.has(hash('sha256', 'another', 'hex').slice(0, 32))).toBe(false)
  expect([...set.sorted()]).toEqual(hashes.toSorted())
})
