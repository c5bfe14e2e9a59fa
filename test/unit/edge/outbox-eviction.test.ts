import { expect, test } from 'vitest'
import type { Outbox, Queued, Submission } from '../../../edge/outbox/outbox.ts'
import { submission } from '../../support/edge/outbox-events.ts'
import { openTestOutbox } from '../../support/edge/test-outbox.ts'
import { FakeClock, settled } from '../../support/fakes/clock.ts'
import { SimulatedDisk } from '../../support/fakes/simulated-disk.ts'

const quietDevices = 120
const noisyEvents = 7000
const quota = { eventsMax: 20_000, deviceShare: 1, full: 'evict' } as const

function events(device: string, count: number): Submission[] {
  return Array.from({ length: count }, (_, index) => submission(device, `${device}-${index}`))
}

/** A hundred events of each quiet device, more than one write looks at, and behind them those of one that is not. */
async function filled(folder: SimulatedDisk, clock: FakeClock): Promise<Outbox> {
  const outbox = await openTestOutbox({ folder, clock, quota, waitingMax: 100_000 })
  for (let device = 0; device < quietDevices; device++)
    await outbox.appendAll(events(`quiet${device}`, 100), () => {})
  await outbox.appendAll(events('noisy', noisyEvents), () => {})
  return outbox
}

async function drain(outbox: Outbox): Promise<Queued[]> {
  const drained: Queued[] = []
  for (;;) {
    const taken = await outbox.take(1000)
    if (taken.length === 0) return drained
    drained.push(...taken)
    await outbox.release(taken)
  }
}

test('who makes room is looked for over many writes, and meanwhile others are let in and nobody loses anything (G7)', async () => {
  const clock = new FakeClock()
  const folder = new SimulatedDisk()
  const outbox = await filled(folder, clock)
  const answers: string[] = []
  const accepted = outbox.append(submission('noisy', 'late')).then(({ kind }) => answers.push(kind))
  await settled()
  expect(answers).toEqual([])
  expect(await outbox.append(submission('new', 'meanwhile'))).toMatchObject({ kind: 'accepted' })
  await clock.advance(1000)
  for (let look = 0; look < 100 && answers.length === 0; look++) {
    await settled()
    await clock.advance(1)
  }
  await accepted
  const kept = (await drain(outbox)).map(({ id }) => id)
  expect(kept.filter((id) => id.startsWith('quiet'))).toHaveLength(quietDevices * 100)
  expect(kept).toContain('meanwhile')
  const noisy = kept.filter((id) => id.startsWith('noisy'))
  expect(noisy.length).toBeLessThan(noisyEvents)
  expect(noisy).toEqual(
    events('noisy', noisyEvents)
      .slice(-noisy.length)
      .map(({ candidate }) => candidate.id),
  )
  await outbox.close()
})

test('what it passed over is handed out in its order, also after a restart (G2, G7)', async () => {
  const clock = new FakeClock()
  const folder = new SimulatedDisk()
  const outbox = await filled(folder, clock)
  const over = outbox.appendAll(events('late', 2000), () => {})
  for (let second = 0; second < 20; second++) {
    await clock.advance(1000)
    await settled()
  }
  await over
  await outbox.close()
  const again = await openTestOutbox({ folder, clock, quota })
  const drained = await drain(again)
  const numbered = drained.filter(({ type }) => type === 'com.acme.climate').map(({ sequence }) => sequence)
  expect(numbered).toEqual(numbered.toSorted((a, b) => a - b))
  const evicted = drained
    .filter(({ type }) => type === 'dev.tidegate.ledger')
    .flatMap(
      ({ text }) => (JSON.parse(text) as { data: { ranges: { from: number; to: number }[] } }).data.ranges,
    )
    .reduce((sum, { from, to }) => sum + to - from + 1, 0)
  expect(drained.length + evicted).toBe(again.stats().lastSequence)
  expect(drained.filter(({ deviceId }) => deviceId.startsWith('quiet'))).toHaveLength(quietDevices * 100)
  await again.close()
})
