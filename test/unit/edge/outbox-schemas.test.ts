import { afterEach, beforeEach, expect, test } from 'vitest'
import type { OutboxOptions } from '../../../edge/outbox/options.ts'
import type { Outbox } from '../../../edge/outbox/outbox.ts'
import { decodeEvent } from '../../../src/contract/codec.ts'
import { noSchemasUsed, type SchemasUsed, schemasType } from '../../../src/contract/schemas-used.ts'
import { FakeClock } from '../../support/fakes/clock.ts'
import { SimulatedDisk } from '../../support/fakes/simulated-disk.ts'
import { submission } from '../../support/edge/outbox-events.ts'
import { openTestOutbox } from '../../support/edge/test-outbox.ts'

let clock: FakeClock
let disk: SimulatedDisk
let outbox: Outbox

beforeEach(async () => {
  clock = new FakeClock()
  disk = new SimulatedDisk()
  outbox = await open()
})
afterEach(() => outbox.close())

function open(more: Partial<OutboxOptions> = {}): Promise<Outbox> {
  return openTestOutbox({ folder: disk, clock, random: Math.random, ...more })
}

const snapshot = (revision: number): SchemasUsed => ({
  source: 'file',
  digest: `d${revision}`,
  types: 1,
  versions: revision,
  revision,
  madeTime: '2026-11-28T00:00:00Z',
  key: 'k',
})

/** What the ledger holds, in its order: IDs of readings, and revisions in brackets. */
async function ledger(): Promise<string> {
  outbox.rewind()
  const events = (await outbox.take(1000)).map(({ text }) => decodeEvent(text))
  return events
    .toSorted((a, b) => a.sequence - b.sequence)
    .map(({ type, id, data }) =>
      type === schemasType ? `[${(data as SchemasUsed).revision ?? (data as SchemasUsed).source}]` : id,
    )
    .join(' ')
}

test('schemas take their place in front of all that is submitted after they were named, in one write too (G8)', async () => {
  const before = outbox.append(submission('a', 'e1'))
  const noted = outbox.judgedBy(snapshot(1))
  const after = outbox.append(submission('a', 'e2'))
  await Promise.all([before, noted, after])
  expect(await ledger()).toMatch(/^(e1 \[1\] e2|\[1\] e1 e2)$/)
  // In the middle of a write that has begun already.
  const held = outbox.append(submission('a', 'e3'))
  await Promise.resolve()
  const next = outbox.judgedBy(snapshot(2))
  await Promise.all([held, next, outbox.append(submission('a', 'e4'))])
  expect((await ledger()).split(' ').indexOf('[2]')).toBeLessThan((await ledger()).split(' ').indexOf('e4'))
})

test('schemas that were in use between two writes are named too: they have judged what is in line (G8)', async () => {
  await outbox.judgedBy(snapshot(1))
  const held = outbox.append(submission('a', 'e1'))
  await Promise.resolve()
  const second = outbox.judgedBy(snapshot(2))
  const judged = outbox.append(submission('a', 'e2'))
  const back = outbox.judgedBy(snapshot(1))
  await Promise.all([held, second, judged, back, outbox.append(submission('a', 'e3'))])
  const said = (await ledger()).split(' ')
  expect(said.filter((text) => text.startsWith('['))).toEqual(['[1]', '[2]', '[1]'])
  expect(said.indexOf('[2]')).toBeLessThan(said.indexOf('e2'))
})

test('the same schemas are named once, over starts; others, and none any more, are named anew', async () => {
  await outbox.judgedBy(noSchemasUsed)
  await outbox.judgedBy(snapshot(1))
  await outbox.judgedBy(snapshot(1))
  await outbox.close()
  outbox = await open()
  await outbox.judgedBy(snapshot(1))
  await outbox.append(submission('a', 'e1'))
  await outbox.judgedBy(snapshot(2))
  await outbox.judgedBy(noSchemasUsed)
  expect(await ledger()).toBe('[1] e1 [2] [none]')
})

test('what a power cut took of it is named again before anything is judged by it', async () => {
  await outbox.append(submission('a', 'e1'))
  void outbox.judgedBy(snapshot(1)).catch(() => {})
  disk.crash()
  await outbox.close().catch(() => {})
  outbox = await open()
  await outbox.judgedBy(snapshot(1))
  await outbox.append(submission('a', 'e2'))
  expect(await ledger()).toBe('e1 [1] e2')
})

test('it is evidence: no room for readings is made by evicting it (G8)', async () => {
  await outbox.close()
  outbox = await open({ quota: { eventsMax: 20, deviceShare: 1, full: 'evict' } })
  await outbox.judgedBy(snapshot(1))
  const alarms = Array.from({ length: 30 }, (_, n) =>
    outbox.append(submission('a', `e${n}`, { lane: 'high' })),
  )
  // What nothing makes room for at once is tried again with the housekeeping.
  await clock.advance(5000)
  await Promise.all(alarms)
  expect(await ledger()).toMatch(/^\[1\] /)
})

test('a closed outbox says so', async () => {
  await outbox.close()
  await expect(outbox.judgedBy(snapshot(1))).rejects.toMatchObject({ code: 'OUTBOX_CLOSED' })
})
