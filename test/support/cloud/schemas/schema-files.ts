import type { SchemaSource } from '../../../../src/schemas/source.ts'

/** Files of schemas that lie nowhere: what is no text is written as JSON. */
export function sourceOf(files: Readonly<Record<string, unknown>>): SchemaSource {
  const bytes = Object.entries(files).map(([name, content]): [string, Uint8Array] => [
    name,
    Buffer.from(typeof content === 'string' ? content : JSON.stringify(content)),
  ])
  return { name: 'schemas', files: new Map(bytes), faults: [], moduleAt: () => undefined }
}
