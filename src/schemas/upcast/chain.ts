import type { SchemaRegistry } from '../registry.ts'
import type { Step } from './steps.ts'

/** What brings data of one version of a type to the next one that there is. */
export interface Upcast {
  from: number
  to: number
  /** The data in the form of `to`; what it is given stays as it is. Throws what the user's function throws. */
  apply(data: unknown): unknown
  /** SHA-256 of its file: what it does changes with that alone. */
  digest?: string
  /** Of a declarative one. */
  steps?: readonly Step[]
  /** A function whose code is not here: `apply` throws `SCHEMA_UNKNOWN`, which a file mends that somebody has still to deploy. */
  isAbsent?: true
}

/** Those of all types. */
export interface Upcasts {
  /** From a version to the next one that there is; undefined: nobody has said that anything is to be done. */
  find(type: string, from: number, to: number): Upcast | undefined
  /** Steps whose code is not here, as `<type>/<from>-<to>`. */
  absent?: readonly string[]
}

export const noUpcasts: Upcasts = { find: () => undefined }

/** From a version to the next; without `upcast` the data is taken over as it is. */
export interface Link {
  from: number
  to: number
  upcast: Upcast | undefined
}

/** The way from a version to a later one, through every version between them that is known. */
export function linksBetween(
  type: string,
  from: number,
  to: number,
  { registry, upcasts }: { registry: SchemaRegistry; upcasts: Upcasts },
): Link[] {
  const versions = registry.versions(type).filter((version) => version >= from && version <= to)
  return versions.slice(1).map((next, index) => {
    const before = versions[index] as number
    return { from: before, to: next, upcast: upcasts.find(type, before, next) }
  })
}

/**
 * Whether what stands in both versions means the same in both: nothing between them was renamed, moved, dropped or measured anew, as far
 * as an upcast says so. Then data of the later version that the earlier one takes can be read as that.
 */
export function keepsMeaning(links: readonly Link[]): boolean {
  return links.every(
    ({ upcast }) => upcast === undefined || upcast.steps?.every(({ kind }) => kind === 'default'),
  )
}

/** Of what brings events to this version from all that are older, in the order of the versions: the same as long as that does the same. */
export function upcastersTo(
  type: string,
  version: number,
  parts: { registry: SchemaRegistry; upcasts: Upcasts },
): string[] {
  return linksBetween(type, 0, version, parts).flatMap(({ from, to, upcast }) =>
    upcast === undefined ? [] : [`${type}/${from}-${to} ${upcast.digest ?? ''}`],
  )
}
