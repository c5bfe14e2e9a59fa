import { createHash } from 'node:crypto'
import { readdir, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { digestOfFiles } from '../../src/schemas/snapshot.ts'
import { folderSource, type SchemaSource } from '../../src/schemas/source.ts'

/** Schemas as they are somewhere at a moment. */
export interface FoundSchemas {
  source: SchemaSource
  /** SHA-256 of the state, as `digestOfFiles` makes it. */
  digest: string
  /** Of the registry; undefined: a folder has none. */
  revision: number | undefined
}

/** Where schemas come from. */
export interface SchemaOrigin {
  /** For messages and metrics. */
  readonly kind: 'folder' | 'registry'
  /** What is there. @throws TidegateError `SCHEMA_FOLDER` | `SCHEMA_REGISTRY` | `DATABASE_*` */
  read(): Promise<FoundSchemas>
  /**
   * The same if it is another than was found last, whatever became of that, or in any case; undefined: it is not, or not for certain yet.
   * Throws as `read`.
   */
  look(inAnyCase?: boolean): Promise<FoundSchemas | undefined>
}

/** A folder of schemas: what is written into it is taken when it has come to rest. */
export function folderOrigin(folder: string): SchemaOrigin {
  /** As it was when it was read last, and when it was looked at last. */
  let read: string | undefined
  let seen: string | undefined

  function take(): FoundSchemas {
    const source = folderSource(folder)
    return { source, digest: digestOfFiles(source.files), revision: undefined }
  }

  return {
    kind: 'folder',
    async read() {
      read = seen = await marksOf(folder)
      return take()
    },
    async look(inAnyCase = false) {
      const marks = await marksOf(folder)
      const isAtRest = marks === seen
      seen = marks
      // Half of what somebody copies could be used as well, and would be something that nobody has made.
      if ((marks === read && !inAnyCase) || !isAtRest) return undefined
      const found = take()
      read = marks
      return found
    },
  }
}

/** Of every file how large it is and when it was written: another text has others. A folder that is gone has none. */
async function marksOf(folder: string): Promise<string> {
  const marks: string[] = []
  const visit = async (within: string): Promise<void> => {
    const names: string[] = await readdir(join(folder, within)).catch(() => [])
    for (const name of names.toSorted()) {
      if (name.startsWith('.') || name.endsWith('.md')) continue
      const path = within === '' ? name : `${within}/${name}`
      const found = await stat(join(folder, path)).catch(() => undefined)
      if (found?.isDirectory()) await visit(path)
      else marks.push(`${path} ${found?.size ?? '-'} ${found?.mtimeMs ?? '-'} ${found?.ino ?? '-'}`)
    }
  }
  await visit('')
  return createHash('sha256').update(marks.join('\n')).digest('hex')
}
