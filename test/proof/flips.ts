import { cp, mkdir, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { silentOutboxObserver } from '../../edge/outbox/observer.ts'
import type { Outbox, Queued } from '../../edge/outbox/outbox.ts'
import { levelFolder } from '../../edge/store/store-level.ts'
import { type LedgerEntry, ledgerType } from '../../src/contract/event.ts'
import { candidate } from '../support/edge/outbox-events.ts'
import { openTestOutbox } from '../support/edge/test-outbox.ts'
import { FakeClock, settled } from '../support/fakes/clock.ts'

/** A byte of a file, by the file's path in the folder of its outbox. */
export interface Place {
  file: string
  at: number
}

/** What a folder was given. */
export interface Books {
  /** The text of every event that was ever accepted, by its ID. */
  texts: Record<string, string>
  /** Those that were accepted and not released. */
  queued: string[]
}

/** As an orderly close leaves a folder, and as kill -9 does. */
export const states = ['closed', 'killed'] as const
export type State = (typeof states)[number]

/** Longer than the interval of reports. */
const idleSeconds = 8
/** Small generations, so that some are sorted, and one is not. */
const dedup = { ageMs: 1e9, count: 640 }

/** Makes a folder for each state, named after it, in `root`. */
export async function makeStores(root: string): Promise<Record<State, Books>> {
  const folder = join(root, 'made')
  const books: Books = { texts: {}, queued: [] }
  let [next, clock] = [0, new FakeClock()]
  const append = async (outbox: Outbox, count: number): Promise<void> => {
    const ids = Array.from({ length: count }, () => `e${next++}`)
    await Promise.all(
      ids.map((id, index) =>
        outbox.append({
          candidate: candidate(`d${index % 3}`, id, index),
          lane: index % 7 === 0 ? 'high' : 'normal',
          qos: 1,
          ...(index % 5 === 0 ? { ttlMs: 1e9 } : {}),
        }),
      ),
    )
    books.queued.push(...ids)
  }
  const release = async (outbox: Outbox, count: number): Promise<void> => {
    const taken = await outbox.take(count)
    for (const { id, text } of taken) books.texts[id] = text
    // Not all of a block leaves.
    const leaving = taken.filter((_, index) => index % 4 !== 3)
    await outbox.release(leaving)
    outbox.rewind()
    const left = new Set(leaving.map(({ id }) => id))
    books.queued = books.queued.filter((id) => !left.has(id))
  }
  const run = async (work: (outbox: Outbox) => Promise<void>): Promise<void> => {
    clock = new FakeClock()
    const outbox = await openTestOutbox({
      folder: levelFolder({ folder, reserveBytes: 0, clock }),
      clock,
      // The same bytes each time.
      random: () => 0.5,
      dedup,
    })
    await work(outbox)
    await clock.advance(1000)
    await outbox.close()
  }
  const kept = async (state: State): Promise<Books> => {
    await cp(folder, join(root, state), { recursive: true })
    const sound = await serve(join(root, state), join(root, 'sound'))
    for (const { id, text } of sound.served) books.texts[id] = text
    return structuredClone(books)
  }
  for (let begun = 0; begun < 2; begun++)
    await run(async (outbox) => {
      for (let write = 0; write < 4; write++) await append(outbox, 25)
      await release(outbox, 30)
    })
  const closed = await kept('closed')
  let killed: Books | undefined
  await run(async (outbox) => {
    for (let write = 0; write < 2; write++) await append(outbox, 25)
    await release(outbox, 20)
    killed = await kept('killed')
  })
  await rm(folder, { recursive: true })
  return { closed, killed: killed as Books }
}

/** Every byte of every file that says something of the outbox. */
export async function placesOf(folder: string): Promise<Place[]> {
  const names = await readdir(folder, { recursive: true })
  const files = names.filter((name) => !/^db\/LO(CK|G|G\.old)$|^db$/.test(name)).toSorted()
  const sizes = await Promise.all(files.map(async (file) => (await stat(join(folder, file))).size))
  return files.flatMap((file, index) =>
    Array.from({ length: sizes[index] as number }, (_, at): Place => ({ file, at })),
  )
}

/** A copy of `folder` in which the byte is another one. */
export async function flipped(folder: string, copy: string, { file, at }: Place): Promise<void> {
  await rm(copy, { recursive: true, force: true })
  await mkdir(copy)
  await cp(folder, copy, { recursive: true })
  const bytes = await readFile(join(copy, file))
  bytes[at] = (bytes[at] as number) ^ (1 << (at % 8))
  await writeFile(join(copy, file), bytes)
}

/**
 * Opens a damaged folder and lets it run empty. What it serves must be what was written, each once, and what it does not serve
 * must be named as lost and counted (G1, G2).
 * @returns what is wrong with it; undefined: nothing
 */
export async function faultOf(folder: string, { texts, queued }: Books): Promise<string | undefined> {
  const { served, lost } = await serve(folder)
  const ids = served.map(({ id }) => id)
  const altered = served.filter(({ id, text }) => text !== texts[id])
  if (altered[0]) return `${altered[0].id} is served as ${altered[0].text}`
  if (new Set(ids).size < ids.length) return 'an event is served twice in one run'
  const missing = queued.filter((id) => !ids.includes(id))
  const unnamed = missing.filter((id) => !isNamed(texts[id] as string, lost.ranges))
  if (unnamed.length > 0) return `${unnamed.join()} neither served nor named lost`
  // What has left and came back stands for nothing that is missing.
  if (lost.count !== missing.length) return `${missing.length} are missing, ${lost.count} counted as lost`
  return undefined
}

interface LostRange {
  epoch: string
  from: number
  to: number
}

interface Served {
  /** Events of devices, in order. */
  served: Queued[]
  lost: { count: number; ranges: LostRange[] }
}

/** Everything that waits in a folder, or in a copy of it. */
async function serve(folder: string, copy?: string): Promise<Served> {
  if (copy !== undefined) await cp(folder, copy, { recursive: true })
  const clock = new FakeClock()
  const lost: Served['lost'] = { count: 0, ranges: [] }
  const outbox = await clock.during(
    openTestOutbox({
      folder: levelFolder({ folder: copy ?? folder, reserveBytes: 0, clock }),
      clock,
      dedup,
      observer: { ...silentOutboxObserver, lost: (count) => (lost.count += count) },
    }),
  )
  const served: Queued[] = []
  // What is amiss is noticed when the outbox keeps house and is empty, and reported some seconds later.
  for (let empty = 0; empty < idleSeconds;) {
    const taken = await clock.during(outbox.take(500))
    for (const event of taken)
      if (event.type === ledgerType) lost.ranges.push(...rangesOf(event.text))
      else served.push(event)
    await clock.during(outbox.release(taken))
    empty = taken.length === 0 ? empty + 1 : 0
    if (empty > 0) {
      await clock.advance(1000)
      while (clock.waiting === 0) await settled()
    }
  }
  const { depth } = outbox.stats()
  await clock.during(outbox.close())
  if (copy !== undefined) await rm(copy, { recursive: true })
  if (depth.high + depth.normal > 0) throw new Error(`${depth.high} and ${depth.normal} are said to be left`)
  return { served, lost }
}

function rangesOf(text: string): LostRange[] {
  const { data } = JSON.parse(text) as { data: LedgerEntry }
  if (data.kind !== 'undelivered') return []
  return data.ranges
    .filter(({ reason }) => reason === 'lost')
    .map(({ from, to }) => ({ epoch: data.epoch, from, to }))
}

function isNamed(text: string, ranges: readonly LostRange[]): boolean {
  const { epoch, sequence } = JSON.parse(text) as { epoch: string; sequence: number }
  return ranges.some((range) => range.epoch === epoch && range.from <= sequence && sequence <= range.to)
}
