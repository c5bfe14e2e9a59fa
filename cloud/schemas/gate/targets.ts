import type { SchemaFolder } from '../../../src/schemas/folder.ts'
import type { CheckedType } from '../checks.ts'

/** A version that is judged, and the versions whose events it is to be able to read. */
export interface Target {
  type: string
  version: number
  /** Earlier versions, by the mode of the type. */
  reads: ReadonlySet<number>
}

/** The name under which a failing of stored events is accepted in `type.yaml`. */
export const storedRule = 'stored'

/**
 * The versions of a type that were compared, with those they are to read; where nothing was compared the newest, which is to read what names it already, for gateways
 * may know a version before the cloud does.
 */
export function targetsOf({ types }: SchemaFolder, { type, comparisons }: CheckedType): Target[] {
  const versions = new Set(comparisons.map(({ version }) => version))
  if (versions.size === 0) {
    const newest = Math.max(0, ...(types.get(type)?.versions.keys() ?? []))
    if (newest > 0) versions.add(newest)
  }
  return [...versions].map((version) => {
    const read = comparisons.filter((one) => one.version === version && one.direction === 'BACKWARD')
    return { type, version, reads: new Set(read.map(({ against }) => against)) }
  })
}

/** Why somebody has accepted that stored events of a version fail; undefined: nobody has. */
export function acceptedOf(
  { types }: SchemaFolder,
  { type, version }: Target,
  against: number,
): string | undefined {
  return types
    .get(type)
    ?.settings.accepted.find(
      (one) => one.version === version && one.rule === storedRule && (one.against ?? against) === against,
    )?.reason
}
