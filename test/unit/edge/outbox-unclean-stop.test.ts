import { pino } from 'pino'
import { expect, test } from 'vitest'
import type { Outbox } from '../../../edge/outbox/outbox.ts'
import { SimulatedDisk } from '../../support/fakes/simulated-disk.ts'
import { FakeClock, settled } from '../../support/fakes/clock.ts'
import { submission } from '../../support/edge/outbox-events.ts'
import { openTestOutbox } from '../../support/edge/test-outbox.ts'

const codes: unknown[] = []
const log = pino({}, { write: (line) => codes.push((JSON.parse(line) as { code?: unknown }).code) })

function open(disk: SimulatedDisk): Promise<Outbox> {
  return openTestOutbox({
    folder: disk,
    clock: new FakeClock(),
    random: () => 0.5,
    log,
  })
}

test('what comes and goes while the events are counted after an unclean stop is not taken for damage (I2)', async () => {
  const disk = new SimulatedDisk()
  const killed = await open(disk)
  for (let index = 0; index < 5; index++) await killed.append(submission('a', `e${index}`))
  disk.crash()
  await killed.close()
  codes.length = 0

  let count!: () => void
  const counting = new Promise<void>((resolve) => {
    count = resolve
  })
  disk.faults.pause = async (what) => {
    if (what === 'keys') await counting
  }
  const outbox = await open(disk)
  await outbox.append(submission('a', 'later'))
  await outbox.append(submission('a', 'alarm', { lane: 'high' }))
  await outbox.release(await outbox.take(3))
  count()
  await settled()
  expect(codes).not.toContain('OUTBOX_DAMAGED')
  expect(outbox.stats().depth).toEqual({ high: 0, normal: 4 })
  await outbox.close()
})
