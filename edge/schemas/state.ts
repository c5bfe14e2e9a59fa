import type { KeyObject } from 'node:crypto'
import { noSchemasUsed, type SchemasUsed } from '../../src/contract/schemas-used.ts'
import { fingerprintOf } from '../../src/contract/signature.ts'
import { TidegateError } from '../../src/errors.ts'
import { type SchemaFolder, usableSchemasInTurns } from '../../src/schemas/folder.ts'
import type { Formats } from '../../src/schemas/formats.ts'
import { noSchemas, registryOf, schemaName, type SchemaRegistry } from '../../src/schemas/registry.ts'
import { digestOfFiles, type OpenedSnapshot, openSnapshot } from '../../src/schemas/snapshot.ts'
import { folderSource, type SchemaSource } from '../../src/schemas/source.ts'
import { ambiguitiesIn, tellingOf } from '../../src/schemas/upcast/ambiguous.ts'
import type { Route } from '../admission/routes/routes.ts'
import { ambiguitiesOn, refuseUnknownVersions } from '../admission/schema-check.ts'

/** Schemas that can be judged by, whole: whoever has one asks no other. */
export interface SchemaState {
  registry: SchemaRegistry
  used: SchemasUsed
  /** What it was made of; undefined: of nothing. */
  folder: SchemaFolder | undefined
  /** What devices that name no version would be taken for wrongly, each in a sentence. */
  ambiguities: readonly string[]
}

/** Nothing is known, nothing is checked. */
export const noState: SchemaState = {
  registry: noSchemas,
  used: noSchemasUsed,
  folder: undefined,
  ambiguities: [],
}

export interface StateRules {
  routes: readonly Route[]
  formats: Formats
  /** What is in force: of types that are as before nothing is made anew. */
  before?: SchemaState | undefined
}

/** @throws TidegateError `SCHEMA_FOLDER` it cannot be read, a file of it cannot be used, or a route names a version that it has not or has retired */
export function folderState(folder: string, rules: StateRules): Promise<SchemaState> {
  return stateOf(folderSource(folder), { source: 'folder' }, rules)
}

/** @throws TidegateError as `folderState` */
export function snapshotState(
  { revision, madeTime, key, files }: OpenedSnapshot,
  source: 'file' | 'url',
  rules: StateRules,
): Promise<SchemaState> {
  const name = `snapshot ${revision}`
  // Code is never taken from one.
  const of: SchemaSource = { name, files, faults: [], moduleAt: () => undefined }
  return stateOf(of, { source, revision, madeTime, key }, rules)
}

async function stateOf(
  source: SchemaSource,
  from: Pick<SchemasUsed, 'source' | 'revision' | 'madeTime' | 'key'>,
  { routes, formats, before }: StateRules,
): Promise<SchemaState> {
  const folder = await usableSchemasInTurns(source, { formats, before: before?.folder })
  const registry = registryOf(folder.types)
  refuseUnknownVersions(routes, registry)
  const versions = registry.types.reduce((sum, type) => sum + registry.versions(type).length, 0)
  return {
    registry,
    folder,
    used: { ...from, digest: digestOfFiles(source.files), types: registry.types.length, versions },
    ambiguities: tellingOf(ambiguitiesOn(routes, ambiguitiesIn(source, registry))),
  }
}

/**
 * A snapshot that may come into force. Its revision says which of two is newer, and no clock does: gateways' clocks may be wrong, and whoever has
 * an old snapshot could hand it out again. A signer whose key is gone binds nobody.
 * @throws TidegateError `SCHEMA_SNAPSHOT` | `SCHEMA_SNAPSHOT_OLDER`
 */
export function openNewer(
  bytes: Uint8Array,
  keys: readonly KeyObject[],
  inForce: Pick<SchemasUsed, 'revision' | 'key' | 'digest'>,
): OpenedSnapshot {
  const opened = openSnapshot(bytes, keys)
  const { revision = 0, key, digest } = inForce
  const isBinding = keys.some((one) => fingerprintOf(one) === key)
  if (!isBinding || opened.revision > revision) return opened
  if (opened.revision === revision && digestOfFiles(opened.files) === digest) return opened
  throw new TidegateError('SCHEMA_SNAPSHOT_OLDER', {
    message:
      opened.revision === revision
        ? `schema snapshot ${revision} holds something else than the one of that number in use`
        : `schema snapshot ${opened.revision} is refused: ${revision} is in use`,
    retryable: false,
    hint: 'nothing, if somebody hands out an old one; else sign the schemas with a higher revision; see docs/SCHEMAS.md, Snapshot',
  })
}

/**
 * What is published stays: a folder that somebody empties, is copying into, or that is not mounted, takes no check away from a gateway that runs,
 * and turns no device away. A version that is retired stays as a file; only one that was retired before may go.
 * @throws TidegateError `SCHEMA_FOLDER`
 */
export function refuseLost(before: SchemaState, after: SchemaState, where: string): void {
  const { registry } = before
  const versions = registry.types.flatMap((type) =>
    registry
      .versions(type)
      .filter((version) => !registry.retired(type).has(version) && !after.registry.has(type, version))
      .map((version) => `${schemaName(type, version)}.json`),
  )
  const lockedBefore = new Set(lackedBy(before))
  const locked = before.folder === undefined ? [] : lackedBy(after).filter((name) => !lockedBefore.has(name))
  const lost = [...new Set([...versions, ...locked])]
  if (lost.length === 0) return
  throw new TidegateError('SCHEMA_FOLDER', {
    message: `${where} lacks versions that are in use, or files that its lock names: ${lost.slice(0, 20).join(', ')}${lost.length > 20 ? ` and ${lost.length - 20} more` : ''}`,
    retryable: false,
    hint: 'put them back; what no device may send any more is `retired` in type.yaml. A gateway that is to go without them is started anew',
  })
}

/** What its lock names and is not there. */
function lackedBy({ folder }: SchemaState): string[] {
  return [...(folder?.lock?.keys() ?? [])].filter((name) => folder?.digests.has(name) === false)
}
