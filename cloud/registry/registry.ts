import { TidegateError } from '../../src/errors.ts'
import { digestOf, formatLock, lockName, withUnixEnds } from '../../src/schemas/lock.ts'
import { digestOfFiles } from '../../src/schemas/snapshot.ts'
import type { SchemaSource } from '../../src/schemas/source.ts'
import { typeFileName } from '../../src/schemas/type-file.ts'

/** All that is published at one revision of the registry; 0: nothing ever was. */
export interface RegistryState {
  revision: number
  /** The name of the state, as `digestOfFiles` makes it. */
  digest: string
  /** By path from the folder, with line ends as Unix has them. */
  files: ReadonlyMap<string, Uint8Array>
}

/** A revision, without its files. */
export type Revision = Pick<RegistryState, 'revision' | 'digest'>

export const emptyState: RegistryState = { revision: 0, digest: digestOfFiles(new Map()), files: new Map() }

/** Of a file; of all files of a state; how many files: whoever reads a state holds all of it in memory (G7). */
export const registryBounds = { fileBytesMax: 1_048_576, stateBytesMax: 8_388_608, filesMax: 5_000 } as const

/** One file that an apply would add, or give another text. */
export interface FileChange {
  path: string
  kind: 'added' | 'changed'
  sha256: string
}

/** What would become of the registry. */
export interface Plan {
  /** By path. */
  changes: readonly FileChange[]
  /** Types that change, by name. */
  types: readonly string[]
  /** Of these types what the registry has and the files lack: it stays. */
  lacking: readonly string[]
  /** The state there would be. */
  state: RegistryState
}

/** What has one text for good: versions and upcasters. `type.yaml` and cases may change. */
export function isPublished(path: string): boolean {
  return !path.endsWith(`/${typeFileName}`) && !path.endsWith('.cases.json')
}

const typeOf = (path: string): string => path.split('/', 1)[0] as string

/**
 * These files, all types of them or some, put upon what the registry has. What it has beside them stays.
 * @throws TidegateError `SCHEMA_PUBLISHED` a published file has another text, or a version is below one that is published;
 *   `SCHEMA_REGISTRY_FULL` it would be larger than whoever reads it takes
 */
export function planOf(
  before: RegistryState,
  given: ReadonlyMap<string, Uint8Array>,
  types: readonly string[] = [],
): Plan {
  const isMeant = (path: string): boolean =>
    path !== lockName && (types.length === 0 || types.includes(typeOf(path)))
  const files = new Map(
    [...given].filter(([path]) => isMeant(path)).map(([path, bytes]) => [path, withUnixEnds(bytes)] as const),
  )
  const changes = [...files].toSorted(byPath).flatMap(([path, bytes]): FileChange[] => {
    const sha256 = digestOf(bytes)
    const known = before.files.get(path)
    if (known === undefined) return [{ path, kind: 'added', sha256 }]
    return digestOf(known) === sha256 ? [] : [{ path, kind: 'changed', sha256 }]
  })
  refuseRewriting(before, changes)
  const after = new Map([...before.files, ...files].toSorted(byPath))
  refuseLarge(after)
  const mentioned = new Set([...files.keys()].map(typeOf))
  const lacking = [...before.files.keys()].filter((path) => mentioned.has(typeOf(path)) && !files.has(path))
  const revision = before.revision + (changes.length > 0 ? 1 : 0)
  return {
    changes,
    types: [...new Set(changes.map(({ path }) => typeOf(path)))],
    lacking,
    state: { revision, digest: digestOfFiles(after), files: after },
  }
}

const byPath = ([one]: readonly [string, unknown], [other]: readonly [string, unknown]): number =>
  one < other ? -1 : 1

function refuseRewriting(before: RegistryState, changes: readonly FileChange[]): void {
  const rewritten = changes
    .filter(({ path, kind }) => kind === 'changed' && isPublished(path))
    .map(({ path }) => `${path}: is published with another text; a new shape is a new version`)
  const newest = new Map<string, number>()
  for (const path of before.files.keys()) {
    const [type, version] = versionIn(path)
    if (type !== undefined) newest.set(type, Math.max(newest.get(type) ?? 0, version))
  }
  const below = changes.flatMap(({ path, kind }) => {
    const [type, version] = versionIn(path)
    const published = type === undefined ? 0 : (newest.get(type) ?? 0)
    return kind === 'added' && version < published && type !== undefined
      ? [`${path}: version ${published} is published; the next one is above it`]
      : []
  })
  const faults = [...rewritten, ...below]
  if (faults.length === 0) return
  throw new TidegateError('SCHEMA_PUBLISHED', {
    message: `what is published stays as it is:\n${faults.map((fault) => `  ${fault}`).join('\n')}`,
    retryable: false,
    hint: 'take the file of the registry again, and write what is new as the next version: tidegate schema add TYPE FILE',
  })
}

function versionIn(path: string): [string | undefined, number] {
  const [, type, version] = /^([^/]+)\/([1-9][0-9]{0,5})\.json$/.exec(path) ?? []
  return [type, Number(version ?? 0)]
}

function refuseLarge(files: ReadonlyMap<string, Uint8Array>): void {
  const { fileBytesMax, stateBytesMax, filesMax } = registryBounds
  const large = [...files].find(([, bytes]) => bytes.length > fileBytesMax)
  const bytes = [...files.values()].reduce((sum, each) => sum + each.length, 0)
  const faults = [
    ...(large === undefined ? [] : [`${large[0]} has ${large[1].length} bytes of ${fileBytesMax}`]),
    ...(bytes <= stateBytesMax ? [] : [`all files have ${bytes} bytes of ${stateBytesMax}`]),
    ...(files.size <= filesMax ? [] : [`there are ${files.size} files of ${filesMax}`]),
  ]
  if (faults.length === 0) return
  throw new TidegateError('SCHEMA_REGISTRY_FULL', {
    message: `the registry would be too large: ${faults.join('; ')}`,
    retryable: false,
    hint: 'keep descriptions short, and documents that are no schemas elsewhere; every cloud and gateway holds all of it in memory',
  })
}

/**
 * A state as whoever reads schemas takes it, held to what is published by a lock of its own. Code is taken from a folder alone: `moduleAt` says
 * where a file of these bytes lies.
 */
export function sourceOf(
  { revision, files }: RegistryState,
  moduleAt: SchemaSource['moduleAt'] = () => undefined,
  published: ReadonlyMap<string, Uint8Array> = files,
): SchemaSource {
  const lock = new Map(
    [...published].filter(([path]) => isPublished(path)).map(([path, bytes]) => [path, digestOf(bytes)]),
  )
  return {
    name: `revision ${revision} of the registry`,
    files: new Map([...files, [lockName, Buffer.from(formatLock(lock))]]),
    faults: [],
    moduleAt,
  }
}
