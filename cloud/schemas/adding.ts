import { copyFileSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import { eventTypePattern } from '../../src/contract/event.ts'
import { codeOf, messageOf } from '../../src/errors.ts'
import { readSchemaFolder, type SchemaFolder } from '../../src/schemas/folder.ts'
import type { Formats } from '../../src/schemas/formats.ts'
import { lockName, withUnixEnds } from '../../src/schemas/lock.ts'
import { registryOf } from '../../src/schemas/registry.ts'
import { typeFileName } from '../../src/schemas/type-file.ts'
import { loadUpcasts } from '../../src/schemas/upcast/folder.ts'
import { type CheckedType, checkType, isInTheWay } from './checks.ts'
import { alone, publishFile, publishInLock, unusable } from './publishing.ts'

export interface Added {
  checked: CheckedType
  /** Files that came into the lock. */
  added: string[]
  isAdded: boolean
}

export interface AddOptions {
  strict?: boolean
  formats?: Formats
  /** What is there was in use before there was a lock: it is not judged, and `type.yaml` says so. */
  asPublished?: boolean
}

/**
 * Makes a schema the next version of a type, if the type's mode allows it, and puts all of the type's files that are not in it yet into the lock: the file of the
 * version first, then its line, so that what a crash leaves behind is put right by doing it again. If the mode does not allow it, a file cannot be used, or the lock or what it
 * names is damaged, nothing is written.
 * @throws TidegateError `SCHEMA_FOLDER` | `SCHEMA_FILE`
 */
export async function addVersion(
  root: string,
  type: string,
  file: string | undefined,
  options: AddOptions = {},
): Promise<Added> {
  if (!eventTypePattern.test(type)) throw unusable(`${type} is not an event type`)
  return alone(root, async () => {
    const trial = mkdtempSync(join(tmpdir(), 'tidegate-schema-'))
    try {
      return await tryVersion({ root, trial, type, file }, options)
    } finally {
      rmSync(trial, { recursive: true, force: true })
    }
  })
}

interface Trial {
  root: string
  trial: string
  type: string
  file: string | undefined
}

async function tryVersion(
  { root, trial, type, file }: Trial,
  { strict = false, formats = 'checked', asPublished = false }: AddOptions,
): Promise<Added> {
  const isInPlace = file === undefined || dirname(resolve(file)) === resolve(root, type)
  copyType(root, trial, type)
  const settings = asPublished ? takeAsPublished(trial, type) : undefined
  const name = isInPlace ? undefined : `${type}/${newestVersion(trial, type) + 1}.json`
  if (name !== undefined && file !== undefined) copyInto(file, join(trial, name))
  const folder = readSchemaFolder(trial, formats)
  const faults = [...folder.faults, ...missingOf(folder, type)]
  if (faults.length > 0) throw unusable(faults.join('; '))
  if (asPublished && [...(folder.lock?.keys() ?? [])].some((each) => each.startsWith(`${type}/`)))
    throw unusable(`${lockName} has versions of ${type} already: what comes now is judged`)
  if (!folder.types.has(type)) throw unusable(`${type} has no version: name the file of the first`)
  if (name !== undefined) refuseSame(folder, type, name)
  // Functions are loaded from where they will stay: they may import what lies beside them.
  const source = { ...folder.source, name: root, moduleAt: (each: string) => join(root, each) }
  const upcasts = await loadUpcasts(source, registryOf(folder.types), [type])
  const checked = checkType(folder, type, { formats, upcasts })
  const findings = checked.comparisons.flatMap((one) => one.findings)
  if (findings.some((one) => isInTheWay(one, strict))) return { checked, added: [], isAdded: false }
  if (settings !== undefined) publishFile(join(root, type, typeFileName), settings)
  if (name !== undefined) publishFile(join(root, name), readFileSync(join(trial, name)))
  const { digests, lock } = folder
  const added = [...digests].filter(([each]) => !lock?.has(each))
  if (added.length > 0) publishInLock(root, new Map(added))
  return { checked, added: added.map(([each]) => each).toSorted(), isAdded: true }
}

/** Files that are published and gone: whoever reads the lock later would miss them, or take another file for them. */
function missingOf({ lock, digests }: SchemaFolder, type: string): string[] {
  const missing = [...(lock?.keys() ?? [])].filter(
    (each) => each.startsWith(`${type}/`) && !digests.has(each),
  )
  return missing.map((each) => `${each}: is in ${lockName} and not on the disk; put it back`)
}

/** The `type.yaml` that says so, tried as well. */
function takeAsPublished(trial: string, type: string): Uint8Array {
  const path = join(trial, type, typeFileName)
  const newest = newestVersion(trial, type)
  const said = `asPublished: ${newest}`
  if (newest === 0) throw unusable(`${type} has no version that could have been published`)
  if (filesIn(join(trial, type)).includes(typeFileName))
    throw unusable(`say it in ${type}/${typeFileName} itself: ${said}`)
  const bytes = Buffer.from(`${said}\n`)
  publishFile(path, bytes)
  return bytes
}

function refuseSame({ digests }: SchemaFolder, type: string, name: string): void {
  const before = [...digests].filter(
    ([each]) => each !== name && dirname(each) === type && /^\d+\.json$/.test(each.slice(type.length + 1)),
  )
  const newest = before.toSorted(([one], [other]) => numberOf(other) - numberOf(one))[0]
  if (newest?.[1] === digests.get(name))
    throw unusable(`it is the same as ${newest?.[0] ?? ''}: nothing to add`)
}

function numberOf(name: string): number {
  return Number(/(\d+)\.json$/.exec(name)?.[1] ?? 0)
}

/** The type and the lock, to be tried beside what is there. */
function copyType(root: string, trial: string, type: string): void {
  mkdirSync(join(trial, type), { recursive: true })
  copyIfThere(join(root, lockName), join(trial, lockName))
  for (const name of filesIn(join(root, type))) {
    mkdirSync(dirname(join(trial, type, name)), { recursive: true })
    copyIfThere(join(root, type, name), join(trial, type, name))
  }
}

function filesIn(folder: string): string[] {
  try {
    return readdirSync(folder, { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map((entry) => join(entry.parentPath, entry.name).slice(folder.length + 1))
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return []
    throw error
  }
}

function copyIfThere(from: string, to: string): void {
  try {
    copyFileSync(from, to)
  } catch (error) {
    if (codeOf(error) !== 'ENOENT') throw error
  }
}

function copyInto(file: string, to: string): void {
  try {
    publishFile(to, withUnixEnds(readFileSync(file)))
  } catch (cause) {
    throw unusable(`cannot read ${file}: ${messageOf(cause)}`)
  }
}

function newestVersion(root: string, type: string): number {
  const versions = filesIn(join(root, type)).flatMap(
    (name) => /^([1-9][0-9]{0,5})\.json$/.exec(name)?.[1] ?? [],
  )
  return Math.max(0, ...versions.map(Number))
}
