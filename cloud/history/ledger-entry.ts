import { z } from 'zod'
import type { LedgerEntry } from '../../src/contract/event.ts'

/** A gateway reports 500 at a time; each becomes a row of its own, in one transaction (G7). */
const rangesMax = 1000
const sequence = z.int().min(1)
/** The data of a `dev.tidegate.ledger` event as a reader of ours demands it. */
export const entrySchema: z.ZodType<LedgerEntry> = z.discriminatedUnion('kind', [
  z.object({
    kind: z.literal('undelivered'),
    epoch: z.string(),
    ranges: z
      .array(
        z.object({
          from: sequence,
          to: sequence,
          reason: z.enum(['expired', 'evicted', 'lost']),
          chain: z.string().exactOptional(),
        }),
      )
      .max(rangesMax),
  }),
  z.object({
    kind: z.literal('clock-corrected'),
    epoch: z.string(),
    from: sequence,
    to: sequence,
    offsetMs: z.number(),
  }),
  z.object({
    kind: z.literal('epoch-closed'),
    epoch: z.string(),
    lastSequence: z.int().min(0),
    reason: z.enum(['corruption', 'renamed']),
  }),
])

/** The data of a `dev.tidegate.ledger` event, or undefined if this version cannot read it. */
export function readLedgerEntry(data: unknown): LedgerEntry | undefined {
  return entrySchema.safeParse(data).data
}
