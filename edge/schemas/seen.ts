import { messageOf } from '../../src/errors.ts'
import { loadSnapshotKeys } from '../../src/schemas/snapshot.ts'
import { ambiguityHint } from '../../src/schemas/upcast/ambiguous.ts'
import type { Seen } from '../../src/settings/check.ts'
import { readSnapshotFile } from './origin.ts'
import { SchemaReader, type SchemaReaderOptions } from './reader.ts'
import { missingSnapshot, needsSchemas } from './schemas.ts'
import { noState, openNewer, type SchemaState, snapshotState } from './state.ts'

type SeenOptions = Pick<SchemaReaderOptions, 'origin' | 'routes' | 'formats'> & {
  unknownTypes: 'accept' | 'reject'
}

/**
 * What a start would judge by; nothing is kept, and nobody is asked.
 * @throws TidegateError where a start would
 */
export async function seenSchemas(options: SeenOptions): Promise<Seen> {
  const { origin } = options
  const reader = new SchemaReader({ ...options, clock: { after: () => ({ cancel() {} }) } })
  if (origin.kind === 'none') return { text: 'none' }
  if (origin.kind === 'folder') {
    const { state = noState } = await reader.read(noState, new AbortController().signal)
    return seenOf([typesOf(state)], state.ambiguities)
  }
  const keys = loadSnapshotKeys(origin.keys)
  const faults: string[] = []
  const orFault = async (read: () => Promise<SchemaState | undefined>): Promise<SchemaState | undefined> =>
    read().catch((error: unknown) => {
      faults.push(messageOf(error))
      return undefined
    })
  const kept = await orFault(() => reader.readKept(noState))
  const there = await orFault(async () => {
    const bytes = origin.kind === 'file' ? await readSnapshotFile(origin.file) : undefined
    if (bytes === undefined) return undefined
    return snapshotState(openNewer(bytes, keys, reader.floor ?? noState.used), 'file', {
      ...options,
      before: kept,
    })
  })
  if (!kept && !there && origin.kind === 'file' && needsSchemas(options)) throw missingSnapshot(faults)
  const inUse = there ?? kept
  const texts = [
    ...(there ? [`in its file ${snapshotOf(there)}`] : []),
    ...(kept ? [`kept ${snapshotOf(kept)}`] : []),
    ...(inUse ? [typesOf(inUse)] : []),
    ...(origin.kind === 'url' ? [`asked of ${withoutQuery(origin.server.url)} while it runs`] : []),
  ]
  const nothing = inUse ? [] : ['there is none yet']
  return seenOf(texts, inUse?.ambiguities ?? [], [...nothing, ...faults])
}

function seenOf(texts: string[], ambiguities: readonly string[], warnings: string[] = []): Seen {
  const text = [...texts, ...warnings, ...ambiguities].join('; ')
  const hinted = ambiguities.length === 0 ? text : `${text}; ${ambiguityHint}`
  return warnings.length + ambiguities.length === 0 ? { text } : { text: hinted, warning: true }
}

function typesOf({ registry }: SchemaState): string {
  return `${registry.types.length} event types`
}

function snapshotOf({ used: { revision = 0, madeTime = '', key = '' } }: SchemaState): string {
  return `snapshot ${revision} of ${madeTime}, signed by ${key}`
}

/** A query may hold what is secret. */
function withoutQuery(text: string): string {
  const { origin, pathname } = new URL(text)
  return `${origin}${pathname}`
}
