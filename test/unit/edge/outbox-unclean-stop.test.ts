import { pino } from 'pino'
import { expect, test } from 'vitest'
import { decodeHead } from '../../../edge/outbox/layout/head.ts'
import { silentOutboxObserver } from '../../../edge/outbox/observer.ts'
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
    if (what === 'snapshot keys') await counting
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

test('what was delivered since the mark was made is not called lost when the newest write is damaged (G2)', async () => {
  const disk = new SimulatedDisk()
  const clock = new FakeClock()
  let lost = 0
  const observer = { ...silentOutboxObserver, lost: (count: number) => (lost += count) }
  const killed = await openTestOutbox({ folder: disk, clock, observer })
  for (let index = 0; index < 5; index++) await killed.append(submission('a', `e${index}`))
  for (let second = 0; second < 12; second++) {
    await clock.advance(1000)
    await settled()
  }
  expect(decodeHead(await disk.readMark())?.depth).toEqual({ high: 0, normal: 5 })
  await killed.release(await killed.take(3))
  await killed.release(await killed.take(2))
  disk.crash({ machineStaysOn: true })
  expect(disk.tearNewest()).not.toEqual([])

  const outbox = await openTestOutbox({ folder: disk, clock, observer })
  expect(lost).toBe(0)
  await outbox.close()
})
