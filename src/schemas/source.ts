import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { messageOf, TidegateError } from '../errors.ts'

/** Files of schemas, wherever they came from: a folder, a registry, a snapshot. */
export interface SchemaSource {
  /** As messages call it: of a folder its path. */
  name: string
  /** By path from the folder, with `/`. */
  files: ReadonlyMap<string, Uint8Array>
  /** Files that are there and cannot be read. */
  faults: readonly string[]
  /** Where a file lies on this disk, to be loaded as a module; undefined: code is not taken from there. */
  moduleAt: (file: string) => string | undefined
}

/**
 * A folder of schemas with all below it. Names with a dot at the start and notes (`*.md`) are left alone.
 * @throws TidegateError `SCHEMA_FOLDER` the folder itself cannot be read
 */
export function folderSource(folder: string): SchemaSource {
  const files = new Map<string, Uint8Array>()
  const faults: string[] = []
  const visit = (within: string): void => {
    for (const entry of readdirSync(join(folder, within)).toSorted()) {
      if (entry.startsWith('.') || entry.endsWith('.md')) continue
      const name = within === '' ? entry : `${within}/${entry}`
      try {
        files.set(name, readFileSync(join(folder, name)))
      } catch (error) {
        if (isFolder(error)) visit(name)
        else faults.push(`${name}: ${messageOf(error)}`)
      }
    }
  }
  try {
    visit('')
  } catch (cause) {
    throw new TidegateError('SCHEMA_FOLDER', {
      message: `cannot read the schema folder ${folder}`,
      retryable: false,
      hint: 'set schemas.folder to a readable folder',
      cause,
    })
  }
  return { name: folder, files, faults, moduleAt: (file) => join(folder, file) }
}

function isFolder(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'EISDIR'
}

type Named = Pick<SchemaSource, 'files'>

/** Of each top folder the paths in it; made once for each source, for a registry has thousands of types. */
const byTop = new WeakMap<SchemaSource['files'], ReadonlyMap<string, readonly string[]>>()

function groupsOf(files: SchemaSource['files']): ReadonlyMap<string, readonly string[]> {
  const known = byTop.get(files)
  if (known) return known
  const groups = new Map<string, string[]>()
  for (const name of files.keys()) {
    const top = name.split('/', 1)[0] as string
    const group = groups.get(top)
    if (group) group.push(name)
    else groups.set(top, [name])
  }
  byTop.set(files, groups)
  return groups
}

/** Paths of all files of a type, in the order of the source. The files of a source are complete when this is asked. */
export function pathsOf({ files }: Named, type: string): readonly string[] {
  return (groupsOf(files).get(type) ?? []).filter((name) => name !== type)
}

/** What lies in a folder of a source, without what lies in folders of it; in order. */
export function namesIn(source: Named, folder: string): string[] {
  const names = pathsOf(source, folder.split('/', 1)[0] as string).flatMap((name) => {
    const rest = name.startsWith(`${folder}/`) ? name.slice(folder.length + 1) : ''
    return rest === '' || rest.includes('/') ? [] : [rest]
  })
  return names.toSorted()
}

/** What lies in the source itself: types, and the lock. */
export function topNamesIn({ files }: Named): string[] {
  return [...groupsOf(files).keys()].toSorted()
}

export function textIn({ files }: Pick<SchemaSource, 'files'>, file: string): string | undefined {
  const bytes = files.get(file)
  return bytes && Buffer.from(bytes).toString('utf8')
}
