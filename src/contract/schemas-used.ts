import { z } from 'zod'

/** The type of a gateway's word on which schemas it judges by: an event of its ledger like any other (docs/WIRE.md). */
export const schemasType = 'dev.tidegate.schemas'

const count = z.int().min(0)

/**
 * Data of a `dev.tidegate.schemas` event. No event in front of it was judged by these; those behind it were, but for what was in line for the
 * disk when they came into use.
 */
export const schemasUsedSchema = z.object({
  source: z.enum(['folder', 'file', 'url', 'none']).describe('none: there are none, and nothing is checked'),
  digest: z
    .string()
    .regex(/^[0-9a-f]{64}$/)
    .exactOptional()
    .describe('SHA-256 of the state’s files (docs/SCHEMAS.md); absent: none'),
  types: count,
  versions: count,
  revision: count.exactOptional().describe('Of a snapshot'),
  madeTime: z.iso.datetime().exactOptional().describe('By the clock of whoever made the snapshot'),
  key: z.string().exactOptional().describe('Fingerprint of the key that has signed the snapshot'),
})
export type SchemasUsed = z.output<typeof schemasUsedSchema>

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
