import { expect, test } from 'vitest'
import { ofLayout } from '../../support/edge/other-layout.ts'
import { submission } from '../../support/edge/outbox-events.ts'
import { openTestOutbox } from '../../support/edge/test-outbox.ts'
import { FakeClock } from '../../support/fakes/clock.ts'
import { SimulatedDisk } from '../../support/fakes/simulated-disk.ts'

async function filled(): Promise<SimulatedDisk> {
  const disk = new SimulatedDisk()
  const outbox = await openTestOutbox({ folder: disk, clock: new FakeClock() })
  await outbox.append(submission('a', 'e1'))
  await outbox.close()
  return disk
}

test.each(['its head', 'its mark', 'its mark, and has lost its head'])(
  'an outbox that is of a newer version by %s is refused, and nothing is written to it (G2)',
  async (by) => {
    const disk = await filled()
    const newer = ofLayout(3, disk.get('m') ?? '')
    if (by === 'its head') disk.put('m', newer)
    else await disk.writeMark(newer)
    if (by.endsWith('lost its head')) disk.damage((key) => key === 'm')
    const { writes } = disk
    const refusal = {
      code: 'STORE_NEWER',
      retryable: false,
      message: expect.stringMatching(/^disk: /) as string,
    }
    for (let start = 0; start < 2; start++)
      await expect(openTestOutbox({ folder: disk, clock: new FakeClock() })).rejects.toMatchObject(refusal)
    expect(disk).toMatchObject({ writes, setAsideCount: 0, reserveHeld: true })
    expect(disk.keysStartingWith('e!n!')).toHaveLength(1)
  },
)

test('a head whose version alone was altered makes no newer one: it is damage (G2)', async () => {
  const disk = await filled()
  disk.put('m', (disk.get('m') ?? '').replace(/^\d+/, '3'))
  const outbox = await openTestOutbox({ folder: disk, clock: new FakeClock() })
  expect((await outbox.take(10)).map(({ id }) => id)).toContain('e1')
  await outbox.close()
})
