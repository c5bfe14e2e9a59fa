import { createPublicKey, type KeyObject } from 'node:crypto'
import { existsSync, readFileSync } from 'node:fs'
import { resolve } from 'node:path'
import type { Command } from 'commander'
import { fingerprintOf } from '../../src/contract/signature.ts'
import { messageOf, TidegateError } from '../../src/errors.ts'
import { writeDurably } from '../../src/files/durable-file.ts'
import { type SchemaFolder, usableSchemaFolder } from '../../src/schemas/folder.ts'
import {
  digestOfFiles,
  loadSnapshotKeys,
  loadSnapshotSigner,
  openSnapshot,
  signSnapshot,
  type Snapshot,
} from '../../src/schemas/snapshot.ts'
import { wholeNumber } from '../../src/settings/command-line.ts'

/** What is told of a snapshot, for a person or a program. */
interface Told {
  revision: number
  madeTime: string
  digest: string
  files: number
  types: string[]
  key: string
}

interface MakingChoice {
  folder: string
  key: string
  out: string
  revision?: number
  json?: boolean
}

type Say = (text: string) => void

/** `tidegate schema snapshot` and `tidegate schema verify` */
export function addSnapshots(schema: Command, say: Say): void {
  schema
    .command('snapshot')
    .description('sign all schemas of a folder in one file, for gateways that have no way to the registry')
    .requiredOption('--key <file>', 'the key that signs: openssl genpkey -algorithm ed25519')
    .requiredOption('--out <file>', 'where the snapshot goes; the one that lies there gives the revision')
    .option('--folder <folder>', 'the folder of schemas', 'schemas')
    .option(
      '--revision <number>',
      'which of two is newer; left out: one more than that of the file, or 1',
      wholeNumber(),
    )
    .option('--json', 'one JSON object, for programs')
    .action(async (options: MakingChoice) => {
      const { isNew, told } = await makeSnapshot(options)
      if (options.json) say(JSON.stringify({ ...told, isNew }))
      else say(`${isNew ? 'signed' : 'nothing to do, it is there already'}: ${textOf(told)}`)
    })
  schema
    .command('verify')
    .description('open a snapshot as a gateway would: who has signed it, and what it holds')
    .argument('<file>', 'the snapshot')
    .requiredOption('--keys <files...>', 'public keys, as in schemas.snapshot.keys of a gateway')
    .option('--json', 'one JSON object, for programs')
    .action((file: string, { keys, json }: { keys: string[]; json?: boolean }) => {
      const opened = openSnapshot(readFile(file), loadSnapshotKeys(keys))
      const told = toldOf(opened, opened.key)
      say(json ? JSON.stringify(told) : `sound: ${textOf(told)}`)
    })
}

/**
 * Writes the snapshot, whole or not at all; the same schemas as in the file that is there make none.
 * @throws TidegateError `SCHEMA_FOLDER` | `SCHEMA_SNAPSHOT` | `TLS_FILE_*` of the key
 */
async function makeSnapshot({
  folder: root,
  key: keyFile,
  out,
  revision,
}: MakingChoice): Promise<{ isNew: boolean; told: Told }> {
  const key = loadSnapshotSigner(keyFile)
  const folder = usableSchemaFolder(root)
  refuseUnpublished(folder)
  const { files } = folder.source
  const before = snapshotIn(out, key, revision)
  if (before && revision === undefined && digestOfFiles(before.files) === digestOfFiles(files))
    return { isNew: false, told: toldOf(before, fingerprintOf(key)) }
  const snapshot: Snapshot = {
    revision: revision ?? (before?.revision ?? 0) + 1,
    madeTime: new Date().toISOString(),
    files,
  }
  const bytes = signSnapshot(snapshot, key)
  try {
    await writeDurably(resolve(out), bytes)
  } catch (cause) {
    throw unusable(`${out} cannot be written: ${messageOf(cause)}`, 'name a file in a folder that is there')
  }
  return { isNew: true, told: toldOf(snapshot, fingerprintOf(key)) }
}

/** What may still change would be judged by under a name that means something else later. */
function refuseUnpublished({ digests, lock }: SchemaFolder): void {
  const unlocked = [...digests.keys()].filter((file) => lock !== undefined && !lock.has(file))
  if (unlocked.length > 0)
    throw unusable(
      `not in schemas.lock: ${unlocked.join(', ')}`,
      'publish them first: tidegate schema add TYPE; or take them out of the folder',
    )
}

/** Undefined: there is none, or it does not matter which. */
function snapshotIn(out: string, key: KeyObject, revision: number | undefined): Snapshot | undefined {
  if (revision !== undefined || !existsSync(out)) return undefined
  try {
    return openSnapshot(readFile(out), [createPublicKey(key)])
  } catch (cause) {
    throw unusable(
      `${out} gives no revision to go on from: ${messageOf(cause)}`,
      'say --revision, a higher one than gateways have seen of this key',
    )
  }
}

function readFile(file: string): Uint8Array {
  try {
    return readFileSync(file)
  } catch (cause) {
    throw unusable(`${file} cannot be read: ${messageOf(cause)}`, 'name a file that a snapshot is in')
  }
}

function toldOf({ revision, madeTime, files }: Snapshot, key: string): Told {
  const types = new Set(
    [...files.keys()].filter((path) => path.includes('/')).map((path) => path.split('/', 1)[0] as string),
  )
  return {
    revision,
    madeTime,
    digest: digestOfFiles(files),
    files: files.size,
    types: [...types].toSorted(),
    key,
  }
}

function textOf({ revision, madeTime, digest, files, types, key }: Told): string {
  return `revision ${revision} of ${madeTime}, ${types.length} event types in ${files} files\n  digest ${digest}\n  key    ${key}`
}

function unusable(what: string, hint: string): TidegateError {
  return new TidegateError('SCHEMA_SNAPSHOT', {
    message: `schema snapshot: ${what}`,
    retryable: false,
    hint,
  })
}
