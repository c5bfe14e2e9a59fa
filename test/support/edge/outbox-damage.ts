import { randomBytes } from 'node:crypto'
import { readdir, readFile, rename, rm, stat, truncate, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { ClassicLevel } from 'classic-level'
import { examine } from '../../../edge/store/leveldb/folder.ts'

/** Does to a closed LevelDB folder what disks, file systems and people do to it. */
export type Damage = (db: string) => Promise<void>

export const damages = {
  'a flipped byte in a table': (db) => changed(db, liveTable, flipAt(0.5)),
  'flipped bytes all over a table': (db) => changed(db, liveTable, flipEvery(5003)),
  'a flipped byte in the index of a table': (db) =>
    changed(db, liveTable, (bytes) => flip(bytes, bytes.length - 120)),
  'a flipped byte in the footer of a table': (db) =>
    changed(db, liveTable, (bytes) => flip(bytes, bytes.length - 3)),
  'a truncated table': async (db) => halve(await liveTable(db)),
  'an emptied table': async (db) => truncate(await liveTable(db), 0),
  'a deleted table': async (db) => rm(await liveTable(db)),
  'a deleted MANIFEST': async (db) => rm(await only(db, /^MANIFEST/)),
  'a truncated MANIFEST': async (db) => halve(await only(db, /^MANIFEST/)),
  'an emptied MANIFEST': async (db) => truncate(await only(db, /^MANIFEST/), 0),
  'a flipped byte in the MANIFEST': (db) => changed(db, (db) => only(db, /^MANIFEST/), flipAt(0.5)),
  'a deleted CURRENT': (db) => rm(join(db, 'CURRENT')),
  'an emptied CURRENT': (db) => truncate(join(db, 'CURRENT'), 0),
  'garbage in CURRENT': (db) => writeFile(join(db, 'CURRENT'), randomBytes(16)),
  'a CURRENT that names nothing': (db) => writeFile(join(db, 'CURRENT'), 'MANIFEST-999999\n'),
  'a torn last record in the log': async (db) => {
    const log = await only(db, /\.log$/)
    await truncate(log, (await stat(log)).size - 100)
  },
  'garbage behind the end of the log': (db) =>
    changed(
      db,
      (db) => only(db, /\.log$/),
      (bytes) => Buffer.concat([bytes, randomBytes(1000)]),
    ),
  'a flipped byte in the middle of the log': (db) => changed(db, (db) => only(db, /\.log$/), flipAt(0.5)),
  'flipped bytes all over the log': (db) => changed(db, (db) => only(db, /\.log$/), flipEvery(50_021)),
  'a deleted log': async (db) => rm(await only(db, /\.log$/)),
  'an altered event': (db) => altered(db, 'e!n!', (value) => value.replace(/"noise":"./, '"noise":"\u00e9')),
  'an altered head': (db) => altered(db, 'm', (value) => value.replace('"position":', '"positiom":')),
  'a deleted head': (db) => altered(db, 'm', () => undefined),
  'an altered count of a device': (db) => altered(db, 'q!', () => 'x'),
  'nothing but garbage': async (db) => {
    for (const name of await readdir(db)) await writeFile(join(db, name), randomBytes(5000))
  },
  'no files at all': async (db) => {
    for (const name of await readdir(db)) await rm(join(db, name))
  },
  'no folder': (db) => rm(db, { recursive: true }),
  'a file in its place': async (db) => {
    await rm(db, { recursive: true })
    await writeFile(db, 'not a folder')
  },
} satisfies Record<string, Damage>

/** The keys of records say that they are three bytes long: classic-level aborts the process when it reads that. */
export const lethal: Damage = (db) =>
  changed(db, liveTable, (bytes) => {
    for (let at = bytes.indexOf('e!n!'); at >= 0; at = bytes.indexOf('e!n!', at + 1)) {
      // Shared bytes (0), own bytes of the key (28), bytes of the value (a varint of two or three), key: LevelDB, doc/table_format.md.
      for (const own of [at - 3, at - 4]) if (bytes[own] === 28 && bytes[own - 1] === 0) bytes[own] = 3
    }
    return bytes
  })

/** Opens the closed store and changes the first value whose key begins with `prefix`; undefined deletes it. */
export async function altered(
  db: string,
  prefix: string,
  change: (value: string) => string | undefined,
): Promise<void> {
  const level = new ClassicLevel(db)
  const [entry] = await level.iterator({ gte: prefix, lt: `${prefix}~`, limit: 1 }).all()
  if (!entry) throw new Error(`nothing begins with ${prefix}`)
  const value = change(entry[1])
  if (value === entry[1]) throw new Error('nothing was changed')
  await (value === undefined ? level.del(entry[0]) : level.put(entry[0], value))
  await level.close()
}

/** A table that holds events and is in use: LevelDB leaves others lying about. */
async function liveTable(db: string): Promise<string> {
  for (const name of (await readdir(db)).filter((name) => name.endsWith('.ldb')).toSorted()) {
    const path = join(db, name)
    const bytes = await readFile(path, 'latin1')
    if (!bytes.includes('e!n!')) continue
    await rename(path, `${path}.away`)
    const { fault } = await examine(db)
    await rename(`${path}.away`, path)
    if (fault !== undefined) return path
  }
  throw new Error('no table is in use')
}

async function only(db: string, pattern: RegExp): Promise<string> {
  const names = (await readdir(db)).filter((name) => pattern.test(name))
  if (names.length !== 1) throw new Error(`${names.length} files match ${pattern}`)
  return join(db, names[0] as string)
}

async function changed(
  db: string,
  find: (db: string) => Promise<string>,
  change: (bytes: Buffer) => Buffer,
): Promise<void> {
  const file = await find(db)
  await writeFile(file, change(await readFile(file)))
}

async function halve(file: string): Promise<void> {
  await truncate(file, Math.floor((await stat(file)).size / 2))
}

function flip(bytes: Buffer, at: number): Buffer {
  bytes[at] = (bytes[at] as number) ^ 0x04
  return bytes
}

function flipAt(share: number): (bytes: Buffer) => Buffer {
  return (bytes) => flip(bytes, Math.floor(bytes.length * share))
}

function flipEvery(step: number): (bytes: Buffer) => Buffer {
  return (bytes) => {
    for (let at = 200; at < bytes.length - 5000; at += step) flip(bytes, at)
    return bytes
  }
}
