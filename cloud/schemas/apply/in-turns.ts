import { readSchemas, type SchemaFolder } from '../../../src/schemas/folder.ts'
import type { Formats } from '../../../src/schemas/formats.ts'
import type { SchemaSource } from '../../../src/schemas/source.ts'
import { filesByType, type RegistryState, sourceOf } from '../../registry/registry.ts'

export interface ReadingInTurns {
  formats: Formats
  moduleAt: SchemaSource['moduleAt'] | undefined
  /** What the lock is about. */
  published: ReadonlyMap<string, Uint8Array>
}

/**
 * All that is in a state, with everything that is wrong with it. To compile it takes seconds, and it may be a cloud at work that does this: type by
 * type, with time for others in between.
 */
export async function readInTurns(
  state: RegistryState,
  { formats, moduleAt, published }: ReadingInTurns,
): Promise<SchemaFolder> {
  const locked = filesByType(published)
  const all: SchemaFolder[] = []
  for (const [type, files] of filesByType(state.files)) {
    await new Promise((resume) => setImmediate(resume))
    const of = sourceOf({ ...state, files }, moduleAt, locked.get(type) ?? new Map())
    all.push(readSchemas(of, formats))
  }
  return {
    source: sourceOf(state, moduleAt, published),
    types: new Map(all.flatMap((read) => [...read.types])),
    digests: new Map(all.flatMap((read) => [...read.digests])),
    lock: new Map(all.flatMap(({ lock }) => [...(lock ?? [])])),
    faults: all.flatMap(({ faults }) => faults),
  }
}
