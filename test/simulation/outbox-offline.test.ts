import { expect, test } from 'vitest'
import type { Outbox, Queued } from '../../edge/outbox/outbox.ts'
import { SimulatedDisk } from '../support/fakes/simulated-disk.ts'
import { FakeClock, settled } from '../support/fakes/clock.ts'
import { submission } from '../support/edge/outbox-events.ts'
import { openTestOutbox } from '../support/edge/test-outbox.ts'

const hourMs = 3_600_000
const hours = 72
const devices = 10

/** An hour passes; every second of it is a tick of the outbox's housekeeping, so we pass it in larger steps. */
async function pass(clock: FakeClock, ms: number): Promise<void> {
  for (let left = ms; left > 0; left -= 60_000) {
    await clock.advance(60_000)
    while (clock.waiting === 0) await settled()
  }
}

/** No unit test: three days are 320,000 ticks of housekeeping, each with its turn. */
test('keeps 72 hours offline, over power cuts, in order, and lets only what was too old expire (G1)', async () => {
  const clock = new FakeClock()
  const disk = new SimulatedDisk()
  const open = (): Promise<Outbox> =>
    openTestOutbox({
      folder: disk,
      clock,
      random: () => 0.5,
      clockSettleMs: 60_000,
    })
  let outbox = await open()
  for (let hour = 0; hour < hours; hour++) {
    for (let device = 0; device < devices; device++) {
      await outbox.append(submission(`d${device}`, `h${hour}`))
      // A reading that is worthless after a day.
      await outbox.append(submission(`d${device}`, `day-h${hour}`, { ttlMs: 24 * hourMs }))
    }
    if (hour % 24 === 12) {
      // The power fails for six hours; nothing is closed in order, and the clock starts at 1970 for a moment.
      disk.crash()
      await outbox.close()
      const wallMs = clock.now()
      clock.jump(-wallMs)
      outbox = await open()
      await pass(clock, 60_000)
      clock.jump(wallMs + 6 * hourMs)
    }
    await pass(clock, hourMs)
  }
  await pass(clock, hourMs)

  outbox.resumed()
  const drained: Queued[] = []
  for (;;) {
    const events = await outbox.take(500)
    if (events.length === 0) break
    drained.push(...events)
    await outbox.release(events)
  }
  const ids = (prefix: RegExp, deviceId: string): string[] =>
    drained.filter((event) => event.deviceId === deviceId && prefix.test(event.id)).map(({ id }) => id)
  const perishable = Array.from({ length: devices }, (_, device) => ids(/^day-/, `d${device}`))
  for (let device = 0; device < devices; device++) {
    expect(ids(/^h/, `d${device}`)).toEqual(Array.from({ length: hours }, (_, hour) => `h${hour}`))
  }
  // Six of the last 24 hours were without power, and count: what is left was admitted in the other 18.
  for (const left of perishable) {
    expect(left.length).toBeGreaterThanOrEqual(16)
    expect(left.length).toBeLessThanOrEqual(18)
    expect(left.at(-1)).toBe('day-h71')
  }
  const expired = drained
    .filter(({ type }) => type === 'dev.tidegate.ledger')
    .map(
      ({ text }) =>
        (JSON.parse(text) as { data: { kind: string; ranges?: { from: number; to: number }[] } }).data,
    )
    .flatMap(({ ranges }) => ranges ?? [])
    .reduce((sum, { from, to }) => sum + to - from + 1, 0)
  const left = perishable.reduce((sum, events) => sum + events.length, 0)
  expect(expired + left).toBe(hours * devices)
  await outbox.close()
}, 180_000)
