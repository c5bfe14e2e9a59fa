/** The type of a gateway's word on which schemas it judges by: an event of its ledger like any other (docs/WIRE.md). */
export const schemasType = 'dev.tidegate.schemas'

/**
 * Data of a `dev.tidegate.schemas` event. No event in front of it was judged by these; those behind it were, but for what was in line for the
 * disk when they came into use.
 */
export interface SchemasUsed {
  /** `none`: there are none yet, or none any more, and nothing is checked. */
  source: 'folder' | 'file' | 'url' | 'none'
  /** The name of the state, as `digestOfFiles` has it; absent: `none`. */
  digest?: string
  types: number
  versions: number
  /** Of a snapshot. */
  revision?: number
  /** RFC 3339; the clock of whoever made the snapshot. */
  madeTime?: string
  /** Fingerprint of the key that has signed the snapshot. */
  key?: string
}

export const noSchemasUsed: SchemasUsed = { source: 'none', types: 0, versions: 0 }

/** Whether two say the same. */
export function isSameUse(one: SchemasUsed, other: SchemasUsed): boolean {
  return (
    one.source === other.source &&
    one.digest === other.digest &&
    one.revision === other.revision &&
    one.key === other.key
  )
}
