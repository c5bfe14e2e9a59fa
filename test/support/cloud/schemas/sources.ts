import { readSchemas, type SchemaFolder } from '../../../../src/schemas/folder.ts'
import type { SchemaSource } from '../../../../src/schemas/source.ts'

/** Schemas that lie nowhere, by file: objects are JSON, texts are as they are. */
export function sourceOf(files: Readonly<Record<string, unknown>>): SchemaSource {
  const bytes = Object.entries(files).map(
    ([name, content]) =>
      [name, Buffer.from(typeof content === 'string' ? content : JSON.stringify(content))] as const,
  )
  return { name: 'test', files: new Map(bytes), faults: [], moduleAt: () => undefined }
}

export function schemasOf(files: Readonly<Record<string, unknown>>): SchemaFolder {
  return readSchemas(sourceOf(files))
}
