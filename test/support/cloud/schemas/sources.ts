import { readSchemas, type SchemaFolder } from '../../../../src/schemas/folder.ts'
import { digestOf, formatLock, lockName } from '../../../../src/schemas/lock.ts'
import type { SchemaSource } from '../../../../src/schemas/source.ts'

/** Schemas that lie nowhere, by file: objects are JSON, texts are as they are. */
export function sourceOf(files: Readonly<Record<string, unknown>>): SchemaSource {
  const bytes = Object.entries(files).map(
    ([name, content]) =>
      [name, Buffer.from(typeof content === 'string' ? content : JSON.stringify(content))] as const,
  )
  return { name: 'test', files: new Map(bytes), faults: [], moduleAt: () => undefined }
}

/** The same, with a lock that has these files. */
export function locked(
  files: Readonly<Record<string, unknown>>,
  names: readonly string[],
): Record<string, unknown> {
  const { files: bytes } = sourceOf(files)
  const lock = new Map(names.map((name) => [name, digestOf(bytes.get(name) as Uint8Array)]))
  return { ...files, [lockName]: formatLock(lock) }
}

export function schemasOf(files: Readonly<Record<string, unknown>>): SchemaFolder {
  return readSchemas(sourceOf(files))
}
