import { cp, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, expect, test } from 'vitest'
import type { Outbox, Queued } from '../../../edge/outbox/outbox.ts'
import { verify } from '../../../edge/outbox/look/verification.ts'
import { levelFolder } from '../../../edge/store/store-level.ts'
import { scanLog } from '../../../edge/store/leveldb/log.ts'
import { systemClock } from '../../../src/clock.ts'
import { claimedChain } from '../../../src/contract/codec.ts'
import { levelLog } from '../../support/edge/level-log.ts'
import { submission } from '../../support/edge/outbox-events.ts'
import { openTestOutbox } from '../../support/edge/test-outbox.ts'

const closers: (() => Promise<unknown>)[] = []
afterEach(async () => {
  for (const close of closers.splice(0).toReversed()) await close()
})

async function newFolder(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'tidegate-switch-'))
  closers.push(() => rm(folder, { recursive: true, force: true }))
  return folder
}

const storeIn = (folder: string) => levelFolder({ folder, reserveBytes: 0, clock: systemClock })

async function open(folder: string): Promise<Outbox> {
  const outbox = await openTestOutbox({
    folder: storeIn(folder),
  })
  closers.push(() => outbox.close())
  return outbox
}

/** The uplink takes and releases until all of these have come, or five seconds have passed. */
async function delivered(outbox: Outbox, ids: readonly string[]): Promise<Queued[]> {
  const all: Queued[] = []
  const patience = AbortSignal.timeout(5000)
  while (!patience.aborted && !ids.every((id) => all.some((event) => event.id === id))) {
    await outbox.ready(patience)
    const events = await outbox.take(100)
    all.push(...events)
    await outbox.release(events)
  }
  return all
}

test('a release that a power cut took back, although it left the appends behind it, costs a repeat and nothing else (G2, G3)', async () => {
  const home = await newFolder()
  const outbox = await open(home)
  for (let index = 1; index <= 10; index++) await outbox.append(submission(`d${index % 3}`, `e${index}`))
  await outbox.release(await outbox.take(5))
  for (const id of ['e11', 'e12']) await outbox.append(submission('d0', id))

  // LevelDB began a new log behind the release, which was not synced: the power cut left what was (store-cuts.test.ts).
  const left = await newFolder()
  await cp(home, left, { recursive: true })
  const db = join(left, 'db')
  const log = (await readdir(db)).find((file) => file.endsWith('.log')) as string
  const records: Buffer[] = []
  await scanLog(join(db, log), (record) => records.push(record))
  const release = records.findLastIndex((record) => !record.includes('"id":"e1'))
  expect(records.length - release).toBe(3)
  await writeFile(join(db, log), levelLog(records.slice(0, release)))
  const next = `${String(Number.parseInt(log, 10) + 1).padStart(6, '0')}.log`
  await writeFile(join(db, next), levelLog(records.slice(release + 1)))

  const after = await open(left)
  await after.append(submission('d0', 'later'))
  // Nothing is missing. What was released comes again, and its (source, id) is known in the cloud.
  const ids = [...Array.from({ length: 12 }, (_, index) => `e${index + 1}`), 'later']
  const events = await delivered(after, ids)
  expect(events.map(({ id }) => id).toSorted()).toEqual(ids.toSorted())
  expect(after.stats().depth).toEqual({ high: 0, normal: 0 })
  const places = events.map(({ text }) => claimedChain(text))
  expect(new Set(places).size).toBe(places.length)
  await after.close()
  const store = await storeIn(left).open()
  closers.push(() => store.close())
  expect(await verify(store)).toEqual({ events: 0, faults: [] })
})
