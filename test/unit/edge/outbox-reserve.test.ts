import { describe, expect, test } from 'vitest'
import type { Outbox, Submission } from '../../../edge/outbox/outbox.ts'
import { candidate, submission } from '../../support/edge/outbox-events.ts'
import { openTestOutbox } from '../../support/edge/test-outbox.ts'
import { FakeClock, settled } from '../../support/fakes/clock.ts'
import { SimulatedDisk } from '../../support/fakes/simulated-disk.ts'

function ofSize(device: string, id: string, size: number): Submission {
  return submission(device, id, { candidate: candidate(device, id, 'x'.repeat(size)) })
}

/** The IDs of what leaves, but for those of `noisy`. */
async function order(outbox: Outbox): Promise<string[]> {
  const ids: string[] = []
  for (;;) {
    const taken = await outbox.take(5)
    if (taken.length === 0) return ids
    ids.push(...taken.filter(({ deviceId }) => deviceId !== 'noisy').map(({ id }) => id))
    await outbox.release(taken)
    await settled()
  }
}

describe('what a device sends together, in an outbox that others have filled,', () => {
  const quota = {
    bytesMax: 1_000_000,
    deviceShare: 1,
    deviceMinimum: 0.01,
    reservedShare: 0.05,
    diskFreeBytesMin: 0,
  }
  const filled = async (): Promise<Outbox> => {
    const outbox = await openTestOutbox({ folder: new SimulatedDisk(), clock: new FakeClock(), quota })
    await outbox.append(submission('d', 'first'))
    const noisy = Array.from({ length: 200 }, (_, index) => ofSize('noisy', `n${index}`, 10_000))
    outbox.appendAll(noisy, () => {}).catch(() => {})
    await settled()
    return outbox
  }
  test('leaves in its order, though the first is beyond its minimum and the second within it (G6)', async () => {
    const outbox = await filled()
    const accepted: number[] = []
    const all = outbox.appendAll([ofSize('d', 'A', 20_000), ofSize('d', 'B', 10)], (all) => {
      accepted.push(all.length)
    })
    await settled()
    expect(accepted).toEqual([])
    // Also among those that waited.
    outbox.append(ofSize('d', 'C', 10)).catch(() => {})
    await settled()
    expect(await order(outbox)).toEqual(['first', 'A', 'B', 'C'])
    await all
    await outbox.close()
  })

  test('and is too large for what is left of the reserve keeps no other from it (G7)', async () => {
    const outbox = await filled()
    const reserve = Array.from({ length: 10 }, (_, index) => ofSize(`small${index}`, 'e', 9000))
    reserve.push(submission('tiny', 'e'))
    const answers: string[] = []
    for (const one of reserve)
      void outbox.append(one).then(
        () => answers.push(one.candidate.partitionkey),
        () => {},
      )
    await settled()
    expect(answers).toContain('tiny')
    expect(answers).not.toContain('small9')
    await outbox.close()
  })

  test('is not within its minimum by being its first, whatever its size (G7)', async () => {
    const outbox = await filled()
    const answers: string[] = []
    for (const [device, size] of [
      ['large', 12_000],
      ['small', 3000],
    ] as const)
      void outbox.append(ofSize(device, 'e', size)).then(
        () => answers.push(device),
        () => {},
      )
    await settled()
    expect(answers).toEqual(['small'])
    await outbox.close()
  })
})
