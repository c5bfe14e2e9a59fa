import { spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { cp, mkdir, mkdtemp, readdir, readFile, rm, stat, truncate } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { repairQueue } from '../../edge/outbox-tool/repair.ts'
import { openQueue } from '../../edge/outbox-tool/open-queue.ts'
import type { Outbox } from '../../edge/outbox/outbox.ts'
import { createScratch } from '../../edge/store/leveldb/scratch.ts'
import { levelFolder } from '../../edge/store/store-level.ts'
import { systemClock as clock } from '../../src/clock.ts'
import { messageOf } from '../../src/errors.ts'
import { OutboxAccount } from '../support/edge/outbox-account.ts'
import { damages } from '../support/edge/outbox-damage.ts'
import { submission } from '../support/edge/outbox-events.ts'
import { mountSmallDisk } from '../support/edge/small-disk.ts'
import { openTestOutbox } from '../support/edge/test-outbox.ts'

const scratch = createScratch()
const events = 50
let dataDir: string
let place: string
let killedEpoch: string

async function open(folder: string): Promise<Outbox> {
  return openTestOutbox({
    folder: levelFolder({ folder, reserveBytes: 0, clock }),
    clock,
  })
}

/** A gateway that had some runs, accepted 50 more events, and was killed. */
beforeEach(async () => {
  dataDir = await mkdtemp(join(tmpdir(), 'tidegate-look-'))
  place = join(dataDir, 'outbox')
  const books = new OutboxAccount()
  const live = join(dataDir, 'live')
  for (const run of ['a', 'b']) {
    const outbox = await open(live)
    await books.append(
      outbox,
      Array.from({ length: 300 }, (_, index) => `${run}${index}`),
    )
    await outbox.close()
  }
  const outbox = await open(live)
  for (let index = 0; index < events; index++) await outbox.append(submission('d1', `e${index}`))
  killedEpoch = outbox.stats().epoch
  // The gateway goes on meanwhile: a mark that is being replaced may be gone before it is copied.
  await cp(live, place, { recursive: true, filter: (path) => !path.endsWith('.new') })
  await outbox.close()
  await rm(live, { recursive: true })
})
afterEach(() => rm(dataDir, { recursive: true }))

/** What lies where, and the SHA-256 of each file. */
async function fingerprints(folder: string): Promise<Record<string, string>> {
  const found: Record<string, string> = {}
  for (const name of await readdir(folder, { recursive: true })) {
    const path = join(folder, name)
    found[name] = (await stat(path)).isFile()
      ? createHash('sha256')
          .update(await readFile(path))
          .digest('hex')
      : 'folder'
  }
  return found
}

/** All that the tool does without changing anything; what it said of the whole. */
async function lookAtEverything(): Promise<string> {
  const queue = await openQueue({ dataDir, clock, scratch, thorough: true })
  try {
    for await (const one of queue.export({})) if ('text' in one) JSON.parse(one.text)
    await queue.inspect(10)
    return (await queue.verify()).faults.join('\n')
  } finally {
    await queue.close()
  }
}

async function cutLastRecord(): Promise<void> {
  const db = join(place, 'db')
  const log = (await readdir(db)).find((name) => name.endsWith('.log')) ?? ''
  await truncate(join(db, log), (await stat(join(db, log))).size - 100)
}

describe('looking at the queue of a gateway that was killed', () => {
  test('leaves the evidence of a write that was cut short to the gateway, which gives no place out twice (G2, I7)', async () => {
    await cutLastRecord()
    expect(await lookAtEverything()).toMatch(/the last write is not whole/)

    const outbox = await open(place)
    expect(outbox.stats().epoch).not.toBe(killedEpoch)
    await outbox.close()
  })

  test.each(Object.entries(damages).filter(([name]) => !/^(no folder|a file in its place)$/.test(name)))(
    'with %s says so, changes no byte, and leaves nothing behind',
    async (_, damage) => {
      await damage(join(place, 'db'))
      const before = await fingerprints(dataDir)
      expect(await lookAtEverything().catch(messageOf)).not.toBe('')
      expect(await fingerprints(dataDir)).toEqual(before)
    },
  )

  test('with a damaged table reads what a repair would keep, and says what it is', async () => {
    await damages['a flipped byte in a table'](join(place, 'db'))
    const queue = await openQueue({ dataDir, clock, scratch, thorough: true })
    expect(queue.findings.join()).toMatch(/outbox\/db is damaged: 1 blocks of its tables/)
    let exported = 0
    for await (const one of queue.export({})) exported += 'text' in one ? 1 : 0
    await queue.close()
    // A block of events or two is gone.
    expect(exported).toBeGreaterThan(400)
    expect(exported).toBeLessThan(650)
  })
})

const copies = async (): Promise<string[]> =>
  (await readdir(place)).filter((name) => name.startsWith('look-'))

/** As a tool leaves it that was killed. */
async function leave(): Promise<string> {
  const child = spawn(process.execPath, ['--version'])
  await once(child, 'close')
  const name = `look-db-${child.pid}-abcdef`
  await mkdir(join(place, name, 'db'), { recursive: true })
  return name
}

describe('the private copy', () => {
  test('of a look that was killed is removed by the next one and by the gateway', async () => {
    const left = await leave()
    const looking = await openQueue({ dataDir, clock, scratch, thorough: false })
    expect(await copies()).not.toContain(left)
    await looking.close()
    expect(await copies()).toEqual([])

    await leave()
    const outbox = await open(place)
    expect(await copies()).toEqual([])
    await outbox.close()
  })

  test('is not taken from who uses it or still makes it, and the gateway goes on meanwhile', async () => {
    const made = `look-db-${process.pid}-abcdef`
    await mkdir(join(place, made))
    const looking = await openQueue({ dataDir, clock, scratch, thorough: false })
    const inUse = (await copies()).filter((name) => name !== made)
    expect(inUse).toHaveLength(1)

    const outbox = await open(place)
    expect(await copies()).toEqual(expect.arrayContaining([made, ...inUse]))
    await outbox.release(await outbox.take(500))
    expect((await looking.verify()).events).toBe(650)
    await looking.close()
    expect(await copies()).toEqual([made])
    await outbox.close()
  })

  test('does not outlive a process that ends at once', async () => {
    const short = createScratch()
    const queue = await openQueue({ dataDir, clock, scratch: short, thorough: false })
    short.removeAll()
    expect((await readdir(place)).filter((name) => name.startsWith('look-'))).toEqual([])
    await queue.close()
  })
})

test('on a full disk the tool says what it needs, and leaves nothing behind', async () => {
  const disk = await mountSmallDisk(8)
  try {
    await cp(place, join(disk.path, 'outbox'), { recursive: true })
    disk.fill()
    const before = await fingerprints(disk.path)
    const options = { dataDir: disk.path, clock, scratch }
    const refused = { code: 'OUTBOX_COPY_FAILED', message: expect.stringMatching(/no space/i) as string }
    await expect(openQueue({ ...options, thorough: false })).rejects.toMatchObject(refused)
    const more = { gateway: 'gw-1', backup: true, random: Math.random, userId: undefined }
    await expect(repairQueue({ ...options, ...more })).rejects.toMatchObject(refused)
    expect(await fingerprints(disk.path)).toEqual(before)
  } finally {
    await disk.unmount()
  }
})

test('repair copies the folder before it touches anything', async () => {
  await cutLastRecord()
  const before = await fingerprints(place)
  const options = {
    dataDir,
    gateway: 'gw-1',
    backup: true,
    clock,
    random: Math.random,
    scratch,
    userId: undefined,
  }
  const { backup, findings } = await repairQueue(options)
  expect(await fingerprints(String(backup))).toEqual(before)
  expect(findings.map(({ kind }) => kind)).toContain('repaired')
})
