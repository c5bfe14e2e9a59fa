import { copyFileSync, mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import { eventTypePattern } from '../../src/contract/event.ts'
import { codeOf, messageOf, TidegateError } from '../../src/errors.ts'
import { readSchemaFolder, type SchemaFolder } from '../../src/schemas/folder.ts'
import { formatLock, lockName } from '../../src/schemas/lock.ts'
import { type CheckedType, checkType, isInTheWay } from './checks.ts'

export interface Added {
  checked: CheckedType
  /** Files that came into the lock. */
  added: string[]
  isAdded: boolean
}

/**
 * Makes a schema the next version of a type, if the type's mode allows it, and puts all of the type's files that are not in it yet into the lock. If it does not,
 * or a file cannot be used, nothing is written.
 * @throws TidegateError `SCHEMA_FOLDER` | `SCHEMA_FILE`
 */
export function addVersion(root: string, type: string, file: string | undefined, strict: boolean): Added {
  if (!eventTypePattern.test(type)) throw unusable(`${type} is not an event type`)
  const isInPlace = file === undefined || dirname(resolve(file)) === resolve(root, type)
  const trial = mkdtempSync(join(tmpdir(), 'tidegate-schema-'))
  try {
    copyType(root, trial, type)
    const name = isInPlace ? undefined : `${type}/${nextVersion(trial, type)}.json`
    if (name !== undefined && file !== undefined) copyInto(file, join(trial, name))
    const folder = readSchemaFolder(trial)
    const faults = folder.faults.filter((fault) => !fault.startsWith(lockName))
    if (faults.length > 0) throw unusable(faults.join('; '))
    if (!folder.types.has(type)) throw unusable(`${type} has no version: name the file of the first`)
    const checked = checkType(folder, type)
    const findings = checked.comparisons.flatMap((one) => one.findings)
    if (findings.some((one) => isInTheWay(one, strict))) return { checked, added: [], isAdded: false }
    if (name !== undefined) {
      mkdirSync(join(root, type), { recursive: true })
      copyFileSync(join(trial, name), join(root, name))
    }
    return { checked, added: lockType(root, folder), isAdded: true }
  } finally {
    rmSync(trial, { recursive: true, force: true })
  }
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
    copyFileSync(file, to)
  } catch (cause) {
    throw unusable(`cannot read ${file}: ${messageOf(cause)}`)
  }
}

function nextVersion(root: string, type: string): number {
  const versions = filesIn(join(root, type)).flatMap(
    (name) => /^([1-9][0-9]{0,5})\.json$/.exec(name)?.[1] ?? [],
  )
  return Math.max(0, ...versions.map(Number)) + 1
}

/** The lock as it was, and what of this type is not in it yet. It is there whole or as before. */
function lockType(root: string, { digests, lock }: SchemaFolder): string[] {
  const added = [...digests.keys()].filter((name) => !lock?.has(name)).toSorted()
  if (added.length === 0) return []
  const path = join(root, lockName)
  writeFileSync(`${path}.new`, formatLock(new Map([...(lock ?? []), ...digests])))
  renameSync(`${path}.new`, path)
  return added
}

function unusable(message: string): TidegateError {
  return new TidegateError('SCHEMA_FILE', {
    message,
    retryable: false,
    hint: 'nothing was written; docs/SCHEMAS.md says what a schema may be and where its files lie',
  })
}
