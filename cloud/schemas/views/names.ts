import { createHash } from 'node:crypto'

/** PostgreSQL cuts longer names, and then two are one. */
const bytesMax = 63
const digestLengths = [6, 12, 24, 48]

/** The columns that every view has. A member of one of these names has another column. */
export const ownColumns = [
  'device',
  'time',
  'recorded_time',
  'gateway',
  'position',
  'source',
  'id',
  'schema_version',
  'data',
] as const

/** Of each type the name of its view: small letters, figures and `_`, so that nobody has to quote it. */
export function viewNames(types: readonly string[]): ReadonlyMap<string, string> {
  return distinct(types.map((type) => [type, type.toLowerCase().replaceAll(/[^a-z0-9_]/g, '_')]))
}

/** Of each path, as a JSON Pointer, the name of its column. */
export function columnNames(paths: readonly (readonly string[])[]): ReadonlyMap<string, string> {
  const taken: readonly string[] = ownColumns
  const names = paths.map((path): [string, string] => {
    const name = path.join('_')
    return [pointerOf(path), taken.includes(name) ? `data_${name}` : name]
  })
  return distinct(names, taken)
}

/** JSON Pointer (RFC 6901). */
export function pointerOf(path: readonly string[]): string {
  return path.map((name) => `/${name.replaceAll('~', '~0').replaceAll('/', '~1')}`).join('')
}

/**
 * By identity, names of 63 bytes at most of which no two are the same. Where two would be, or one is too long, a part of the SHA-256 of
 * the identity stands behind each: a name never comes to mean something else because something was added.
 */
function distinct(
  given: readonly (readonly [identity: string, name: string])[],
  taken: readonly string[] = [],
): ReadonlyMap<string, string> {
  const count = new Map<string, number>(taken.map((name) => [name, 1]))
  for (const [, name] of given) count.set(name, (count.get(name) ?? 0) + 1)
  for (const digestLength of digestLengths) {
    const named = given.map(([identity, name]): [string, string] => {
      const isPlain = count.get(name) === 1 && Buffer.byteLength(name) <= bytesMax
      return [identity, isPlain ? name : withDigest(name, identity, digestLength)]
    })
    if (new Set([...taken, ...named.map(([, name]) => name)]).size === taken.length + given.length)
      return new Map(named)
  }
  throw new Error('two names have the same SHA-256')
}

function withDigest(name: string, identity: string, digestLength: number): string {
  const digest = createHash('sha256').update(identity).digest('hex').slice(0, digestLength)
  return `${cut(name, bytesMax - digestLength - 1)}_${digest}`
}

/** The beginning of a text, in whole characters. */
function cut(text: string, bytes: number): string {
  let kept = ''
  for (const character of text) {
    if (Buffer.byteLength(kept + character) > bytes) break
    kept += character
  }
  return kept
}
