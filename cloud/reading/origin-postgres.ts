import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { TidegateError } from '../../src/errors.ts'
import { digestOf } from '../../src/schemas/lock.ts'
import { readRevision, readState } from '../registry/registry-postgres.ts'
import { isPublished, type RegistryState, type Revision, sourceOf } from '../registry/registry.ts'
import type { Database } from '../database/database-postgres.ts'
import type { FoundSchemas, SchemaOrigin } from './origin.ts'

export interface RegistryOriginOptions {
  database: Pick<Database, 'query'>
  /** Where code of upcasters lies, as it was published; it is never taken from the database. */
  folder?: string | undefined
}

/**
 * The registry in the database: asked for the number of its revision, and for all of it when that has grown. Code that has come into the
 * folder since is another state as well.
 */
export function registryOrigin({ database, folder }: RegistryOriginOptions): SchemaOrigin {
  let state: RegistryState | undefined
  let here = ''
  /** What went back, and lacks something of what was read before. */
  let lacking: Revision | undefined

  function found(read: RegistryState): FoundSchemas {
    state = read
    here = codeIn(read, folder)
    const { digest, revision } = read
    return { source: sourceOf(read, moduleIn(read, folder)), digest, revision }
  }

  return {
    kind: 'registry',
    read: async () => found(await readState(database.query.bind(database))),
    async look(inAnyCase = false) {
      const query = database.query.bind(database)
      const newest = await readRevision(query)
      if (state !== undefined && isSame(newest, state))
        return codeIn(state, folder) === here && !inAnyCase ? undefined : found(state)
      if (lacking !== undefined && state !== undefined && isSame(newest, lacking))
        throw wentBack(state, newest.revision)
      const read = await readState(query)
      // Restored from before, and applied again since: whoever has it all goes on by it, as whoever starts now does.
      if (state !== undefined && read.revision <= state.revision && lacksOf(state, read)) {
        lacking = { revision: read.revision, digest: read.digest }
        throw wentBack(state, read.revision)
      }
      return found(read)
    },
  }
}

const isSame = (one: Revision, other: Revision): boolean =>
  one.revision === other.revision && one.digest === other.digest

/** Something that was published is gone, or is another. */
function lacksOf(before: RegistryState, { files }: RegistryState): boolean {
  return [...before.files].some(([path, bytes]) => {
    const now = files.get(path)
    return now === undefined || (isPublished(path) && digestOf(now) !== digestOf(bytes))
  })
}

type ModuleAt = ReturnType<typeof sourceOf>['moduleAt']

/** Where a file of code lies in the folder, if it is there as it was published. */
function moduleIn({ files }: RegistryState, folder: string | undefined): ModuleAt {
  return (file) => {
    const bytes = files.get(file)
    if (folder === undefined || bytes === undefined) return undefined
    const path = join(folder, file)
    return digestIn(path) === digestOf(bytes) ? path : undefined
  }
}

function digestIn(path: string): string | undefined {
  try {
    return digestOf(readFileSync(path))
  } catch {
    return undefined
  }
}

/** Which files of code are in the folder as they were published. */
function codeIn(state: RegistryState, folder: string | undefined): string {
  const moduleAt = moduleIn(state, folder)
  return [...state.files.keys()]
    .filter((file) => file.endsWith('.js') && moduleAt(file) !== undefined)
    .join('\n')
}

function wentBack({ revision }: RegistryState, newest: number): TidegateError {
  return new TidegateError('SCHEMA_REGISTRY', {
    message: `the registry is at revision ${newest}, and revision ${revision} was read of it before: it has lost what was published`,
    retryable: false,
    hint: 'the database was restored from before: apply all schemas again (tidegate schema apply), and every cloud takes them; until then those before are used by whoever has them, and a cloud that starts knows what is there alone',
  })
}
