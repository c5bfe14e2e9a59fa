import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { TidegateError } from '../../src/errors.ts'
import { digestOf } from '../../src/schemas/lock.ts'
import { readRevision, readState } from '../registry/registry-postgres.ts'
import { type RegistryState, sourceOf } from '../registry/registry.ts'
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

  function found(read: RegistryState): FoundSchemas {
    state = read
    here = codeIn(read, folder)
    const { digest, revision } = read
    return { source: sourceOf(read, moduleIn(read, folder)), digest, revision }
  }

  return {
    kind: 'registry',
    read: async () => found(await readState(database.query.bind(database))),
    async look() {
      const query = database.query.bind(database)
      const newest = await readRevision(query)
      if (state === undefined || newest.digest !== state.digest || newest.revision !== state.revision) {
        if (state !== undefined && newest.revision <= state.revision) throw wentBack(state, newest.revision)
        return found(await readState(query))
      }
      return codeIn(state, folder) === here ? undefined : found(state)
    },
  }
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
    hint: 'the database was restored from before: apply the schemas again (tidegate schema apply); until then those before are used by whoever has them',
  })
}
