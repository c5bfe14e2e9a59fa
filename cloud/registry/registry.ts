import { eventTypePattern } from '../../src/contract/event.ts'
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

/**
 * What the registry has: `<type>/<version>.json`, `<type>/type.yaml`, `<type>/upcast/1-2.yaml` | `1-2.js` | `1-2.cases.json`, and nothing
 * else, for it would stay for good. Migration 23 says the same.
 */
const namePattern =
  /^(?:type\.yaml|[1-9][0-9]{0,5}\.json|upcast\/[1-9][0-9]{0,5}-[1-9][0-9]{0,5}\.(?:yaml|js|cases\.json))$/

function isRegistryPath(path: string): boolean {
  const type = typeOf(path)
  return eventTypePattern.test(type) && namePattern.test(path.slice(type.length + 1))
}

/** What has one text for good: versions and upcasters. `type.yaml` and cases may change. */
export function isPublished(path: string): boolean {
  return !path.endsWith(`/${typeFileName}`) && !path.endsWith('.cases.json')
}

export const typeOf = (path: string): string => path.split('/', 1)[0] as string

/** In the order of the files. */
export function filesByType(
  files: ReadonlyMap<string, Uint8Array>,
): ReadonlyMap<string, ReadonlyMap<string, Uint8Array>> {
  const byType = new Map<string, Map<string, Uint8Array>>()
  for (const [path, bytes] of files) {
    const type = typeOf(path)
    const own = byType.get(type)
    if (own === undefined) byType.set(type, new Map([[path, bytes]]))
    else own.set(path, bytes)
  }
  return byType
}

/**
 * These files, all types of them or some, put upon what the registry has. What it has beside them stays.
 * @throws TidegateError `SCHEMA_FOLDER` a file is none of schemas; `SCHEMA_PUBLISHED` a published file has another text, or a version is
 *   below one that is published; `SCHEMA_REGISTRY_FULL` it would be larger than whoever reads it takes
 */
export function planOf(
  before: RegistryState,
  given: ReadonlyMap<string, Uint8Array>,
  types: readonly string[] = [],
): Plan {
  const files = meantOf(given, types)
  refuseOthers([...files.keys()])
  const changes = [...files].toSorted(byPath).flatMap(([path, bytes]): FileChange[] => {
    const sha256 = digestOf(bytes)
    const known = before.files.get(path)
    if (known === undefined) return [{ path, kind: 'added', sha256 }]
    return digestOf(known) === sha256 ? [] : [{ path, kind: 'changed', sha256 }]
  })
  refuseRewriting(before, changes)
  const after = new Map([...before.files, ...files].toSorted(byPath))
  refuseLarge(after)
  const revision = before.revision + (changes.length > 0 ? 1 : 0)
  return {
    changes,
    types: [...new Set(changes.map(({ path }) => typeOf(path)))],
    lacking: lackingIn([...before.files.keys()], given, types),
    state: { revision, digest: digestOfFiles(after), files: after },
  }
}

/** What of these files is to be published, of these types or all, as the registry has it. */
export function meantOf(
  given: ReadonlyMap<string, Uint8Array>,
  types: readonly string[] = [],
): Map<string, Uint8Array> {
  const isMeant = (path: string): boolean =>
    path !== lockName && (types.length === 0 || types.includes(typeOf(path)))
  return new Map(
    [...given].filter(([path]) => isMeant(path)).map(([path, bytes]) => [path, withUnixEnds(bytes)] as const),
  )
}

/** Of the types that these files are of what the registry has, by path, and they lack. */
export function lackingIn(
  published: readonly string[],
  given: ReadonlyMap<string, unknown>,
  types: readonly string[] = [],
): string[] {
  const mentioned = new Set([...given.keys()].map(typeOf))
  const isMeant = (type: string): boolean =>
    mentioned.has(type) && (types.length === 0 || types.includes(type))
  return published.filter((path) => isMeant(typeOf(path)) && !given.has(path))
}

const byPath = ([one]: readonly [string, unknown], [other]: readonly [string, unknown]): number =>
  one < other ? -1 : 1

function refuseOthers(paths: readonly string[]): void {
  const others = paths.filter((path) => !isRegistryPath(path))
  if (others.length === 0) return
  throw new TidegateError('SCHEMA_FOLDER', {
    message: `files that are none of schemas cannot be published, for they would stay for good:\n${others
      .slice(0, 20)
      .map((path) => `  ${path}`)
      .join('\n')}${others.length > 20 ? `\n  and ${others.length - 20} more` : ''}`,
    retryable: false,
    hint: 'the registry has <type>/<version>.json, <type>/type.yaml and <type>/upcast/<from>-<to>.yaml, .js or .cases.json; keep other files elsewhere',
  })
}

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

/** What is published of a type, as its files are called: nothing is compiled. */
export function versionsIn(files: Iterable<string>): number[] {
  return [...files]
    .flatMap((path) => {
      const [type, version] = versionIn(path)
      return type === undefined ? [] : [version]
    })
    .toSorted((one, other) => one - other)
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
