import { expect, test } from 'vitest'
import { Ledger, posted } from '../../support/cloud/cloud-events.ts'
import { partitions, setUp, writing } from '../../support/cloud/test-pipeline.ts'
import { settled } from '../../support/fakes/clock.ts'

const healthy = ['device-1', 'device-2', 'device-3']

/**
 * One device whose handler hangs until its timeout of 10 s, and three healthy ones in its lane, a reading each every second, for 100 s.
 * The first timeout they wait for, and for no other: without parking they are 90 s behind in the end.
 */
test('healthy devices are behind one that hangs for one timeout, and no longer; all come through in order (G6)', async () => {
  const handled: { device: string; sequence: number }[] = []
  const postedAtMs = new Map<number, number>()
  const { broker, clock, start } = setUp(
    writing({
      timeout: '10s',
      onFailure: 'park',
      async handle({ partitionkey: device, sequence }) {
        if (device === 'hanging') await new Promise(() => {})
        handled.push({ device, sequence })
        postedAtMs.delete(sequence)
      },
    }),
    { pipeline: { lanes: 1 } },
  )
  const { pipeline } = start('a')
  const ledger = new Ledger()
  const seen: { lagMs: number; starvedMs: number }[] = []
  for (let second = 0; second < 100; second++) {
    for (const device of ['hanging', ...healthy]) {
      const event = ledger.next(device)
      if (device !== 'hanging') postedAtMs.set(event.event.sequence, clock.monotonicMs())
      broker.post(posted(event, partitions))
    }
    await settled()
    await clock.advance(1_000)
    const oldestMs = Math.min(...postedAtMs.values())
    seen.push({
      lagMs: postedAtMs.size === 0 ? 0 : clock.monotonicMs() - oldestMs,
      starvedMs: pipeline.lanesStarvedMs[0] ?? 0,
    })
  }
  const lagMsOf = (from: number, to: number): number =>
    Math.max(...seen.slice(from, to).map((one) => one.lagMs))
  expect(lagMsOf(0, 12)).toBeGreaterThan(8_000)
  expect(lagMsOf(12, 100)).toBeLessThan(1_000)
  expect(seen.filter((one) => one.starvedMs < one.lagMs)).toEqual([])
  expect(pipeline.parked).toMatchObject({ retrying: 1, held: 0 })
  for (const device of healthy) {
    const sequences = handled.filter((one) => one.device === device).map(({ sequence }) => sequence)
    expect(sequences).toEqual(sequences.toSorted((a, b) => a - b))
  }
})
