import { chmod, cp, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { silentOutboxObserver } from '../../edge/outbox/observer.ts'
import type { Outbox } from '../../edge/outbox/outbox.ts'
import { levelFolder } from '../../edge/store/store-level.ts'
import { FakeClock, settled } from '../support/fakes/clock.ts'
import { OutboxAccount } from '../support/edge/outbox-account.ts'
import { altered, type Damage, damages, lethal } from '../support/edge/outbox-damage.ts'
import { ofLayout } from '../support/edge/other-layout.ts'
import { runProgram } from '../support/program.ts'
import { openTestOutbox } from '../support/edge/test-outbox.ts'

/**
 * As an orderly close leaves the folder; as kill -9 leaves it, with a mark that is one run old; and as a power cut may leave
 * it, which took the newest word of who was told of what as well.
 */
const states = ['closed', 'killed', 'cut off'] as const
const deliveredAfterMark = 400
const account = new OutboxAccount()
/** What was accepted after the mark that the killed state has, and after the word that the state cut off has. */
const afterMark = /^last/
const clock = new FakeClock()
const closers: (() => Promise<unknown>)[] = []
let root: string
let folder: string
let books: OutboxAccount
let lost = 0

async function open(): Promise<Outbox> {
  const outbox = await openTestOutbox({
    folder: levelFolder({ folder, reserveBytes: 0, clock }),
    clock,
    observer: { ...silentOutboxObserver, lost: (count) => (lost += count) },
  })
  closers.push(() => outbox.close())
  return outbox
}

function ids(prefix: string, count: number): string[] {
  return Array.from({ length: count }, (_, index) => `${prefix}${String(index).padStart(4, '0')}`)
}

/** Lets the outbox keep house for some seconds: what is amiss is noticed then at the latest. */
async function pass(seconds: number): Promise<void> {
  for (let second = 0; second < seconds; second++) {
    await clock.advance(1000)
    while (clock.waiting === 0) await settled()
  }
}

async function deliverEverything(outbox: Outbox): Promise<void> {
  await clock.during(books.drain(outbox))
  await pass(2)
  await clock.during(books.drain(outbox))
}

/** As a gateway of another layout would have left it. */
async function markOf(version: number): Promise<void> {
  const file = join(folder, 'mark')
  await writeFile(file, ofLayout(version, await readFile(file, 'utf8')))
}

/** Several runs, so that there are several tables; some of it delivered, not in order. */
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'tidegate-corruption-'))
  folder = join(root, 'base')
  for (let run = 0; run < 3; run++) {
    const outbox = await open()
    for (let batch = 0; batch < 3; batch++) await account.append(outbox, ids(`r${run}b${batch}e`, 300))
    await account.append(outbox, ids(`r${run}alarm`, 20), { lane: 'high', ttlMs: 1e9 })
    if (run === 1) {
      const taken = await outbox.take(600)
      const proven = taken.filter((_, index) => index < 400 || index % 2 === 0)
      account.deliver(proven)
      await outbox.release(proven)
    }
    await outbox.close()
  }
  const outbox = await open()
  const [, word] = /^.{36} (.*)$/.exec(await readFile(join(folder, 'answered'), 'utf8')) ?? []
  for (let batch = 0; batch < 5; batch++) await account.append(outbox, ids(`last${batch}e`, 100))
  // Delivered since the mark was made: what the word says of it must be believed (G2).
  const taken = await outbox.take(deliveredAfterMark)
  account.deliver(taken)
  await outbox.release(taken)
  await cp(folder, join(root, 'killed'), { recursive: true })
  await cp(folder, join(root, 'cut off'), { recursive: true })
  await writeFile(join(root, 'cut off', 'answered'), `${'0'.repeat(36)} ${word}`)
  await outbox.close()
  await cp(folder, join(root, 'closed'), { recursive: true })
})

describe.each(states)('a damaged outbox, found %s,', (state) => {
  beforeEach(async () => {
    folder = await mkdtemp(join(root, 'case-'))
    await cp(join(root, state), folder, { recursive: true })
    books = account.copy()
    lost = 0
  })

  test.each(Object.entries(damages))(
    'with %s, goes on and accounts for every event (G2, I7)',
    async (name, damage) => {
      await damage(join(folder, 'db'))
      // What LevelDB makes of a damaged table it does at a moment of its own, and may be to abort: the last test's part.
      if (name.includes('table')) await writeFile(join(folder, 'unclean'), '3')

      const outbox = await clock.during(open())
      await clock.during(books.append(outbox, ids('new', 100)))
      await deliverEverything(outbox)
      expect(outbox.stats().depth).toEqual({ high: 0, normal: 0 })
      // What was accepted after the last word and is gone with the newest log cannot be known.
      expect(books.unaccounted().filter((id) => state !== 'cut off' || !afterMark.test(id))).toEqual([])
      const missing = books.undelivered().length
      // Without the newest word what was delivered after the mark may be counted too.
      const most = state === 'cut off' ? missing + deliveredAfterMark : missing
      const least = state === 'cut off' ? 0 : missing
      expect(lost).toSatisfy((count: number) => least <= count && count <= most)

      await outbox.close()
      const lostBefore = lost
      const again = await open()
      await books.append(again, ids('again', 10))
      await deliverEverything(again)
      expect(lost).toBe(lostBefore)
      expect(again.stats()).toMatchObject({ depth: { high: 0, normal: 0 }, devices: 0 })
    },
  )

  const newers: Record<string, { put: Damage; back: Damage }> = {
    'with a head': {
      put: (db) => altered(db, 'm', (head) => ofLayout(99, head)),
      back: (db) => altered(db, 'm', (head) => ofLayout(2, head)),
    },
    'with a mark, and damaged': {
      put: async (db) => {
        await markOf(99)
        await damages['a deleted CURRENT'](db)
      },
      back: () => markOf(2),
    },
  }
  test.each(Object.entries(newers))(
    '%s of a newer version, is refused and left as it is (G2)',
    async (_, { put, back }) => {
      const db = join(folder, 'db')
      await put(db)
      await expect(open()).rejects.toMatchObject({
        code: 'STORE_NEWER',
        message: expect.stringMatching(`${folder}: .* 99, and this one reads up to 2`) as string,
      })
      // Neither set aside nor repaired.
      expect((await readdir(folder)).filter((name) => /^(quarantined|repaired)/.test(name))).toEqual([])
      expect(await readdir(db)).not.toContain('lost')

      await back(db)
      const outbox = await clock.during(open())
      await deliverEverything(outbox)
      expect(books.undelivered()).toEqual([])
      expect(lost).toBe(0)
    },
  )

  test('loses no table, log or MANIFEST that it cannot use: they lie in lost/', async () => {
    await damages['nothing but garbage'](join(folder, 'db'))
    const names = (await readdir(join(folder, 'db'))).filter((name) => /\.(ldb|log)$|^MANIFEST/.test(name))
    await open()
    expect(await readdir(join(folder, 'db', 'lost'))).toEqual(expect.arrayContaining(names))
  })

  test('that makes LevelDB abort the process, starts at the fourth attempt at the latest', async () => {
    await lethal(join(folder, 'db'))
    const ends: string[] = []
    while (ends.length < 5 && ends.at(-1) !== 'drained') ends.push(await runProgram('drain-outbox', folder))
    expect(ends.slice(0, -1).every((end) => end === 'SIGABRT')).toBe(true)
    expect(ends).toContain('SIGABRT')
    expect(ends.at(-1)).toBe('drained')
    expect(ends.length).toBeLessThanOrEqual(4)
  })
})

test('what was delivered since the mark was made is not called lost after kill -9, though the log is gone (G2)', async () => {
  folder = await mkdtemp(join(root, 'case-'))
  const killed = await open()
  for (const prefix of ['a', 'b']) {
    await account.copy().append(killed, ids(prefix, 50))
    await killed.release(await killed.take(50))
  }
  expect(killed.stats().depth).toEqual({ high: 0, normal: 0 })
  const copy = await mkdtemp(join(root, 'case-'))
  await cp(folder, copy, { recursive: true })
  folder = copy
  await damages['a deleted log'](join(folder, 'db'))
  lost = 0
  const outbox = await clock.during(open())
  expect(lost).toBe(0)
  expect(outbox.stats().epoch).not.toBe(killed.stats().epoch)
})

describe('what is no damage', () => {
  beforeEach(async () => {
    folder = await mkdtemp(join(root, 'case-'))
    await cp(join(root, 'closed'), folder, { recursive: true })
    books = account.copy()
    lost = 0
  })

  test('an outbox that another process has open is refused and not touched, not even to repair it', async () => {
    const outbox = await open()
    // To an examiner this looks like damage.
    await rm(join(folder, 'db', 'CURRENT'))
    expect(await runProgram('open-and-repair', folder)).toBe('OUTBOX_LOCKED OUTBOX_LOCKED')
    await deliverEverything(outbox)
    expect(books.undelivered()).toEqual([])
  })

  test('a folder that this user may not write is refused as such, and not touched', async () => {
    const names = await readdir(join(folder, 'db'))
    for (const path of [folder, join(folder, 'db')]) await chmod(path, 0o555)
    expect(await runProgram('open-and-repair', folder, 'as-nobody')).toMatch(
      /^DATA_FOLDER_UNWRITABLE (STORE_UNAVAILABLE|DATA_FOLDER_UNWRITABLE)$/,
    )
    for (const path of [folder, join(folder, 'db')]) await chmod(path, 0o755)
    expect(await readdir(join(folder, 'db'))).toEqual(names)
  })
})

afterEach(async () => {
  for (const close of closers.splice(0)) await close()
})
afterAll(() => rm(root, { recursive: true, force: true }))
