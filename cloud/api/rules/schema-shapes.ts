import { z } from 'zod'
import { payload } from './payload.ts'
import { time } from './shapes.ts'

const digest = z
  .string()
  .meta({ description: 'SHA-256, hexadecimal, of the lines "<sha256>  <path>" of its files' })
export const revisionName = {
  revision: z.int().meta({ description: '0: nothing was ever published' }),
  digest,
}
export const fileItem = z.object({ path: z.string(), sha256: z.string() })

const storedEvent = z.object({
  cursor: z.string(),
  position: z.number(),
  source: z.string(),
  id: z.string(),
  recordedTime: time,
  code: z.string(),
  fault: z.string(),
  value: payload(z.string()),
})
/** What would become of an apply. */
export const verdict = z.object({
  ok: z.boolean(),
  before: z.object(revisionName),
  after: z.object(revisionName),
  changes: z.array(fileItem.extend({ kind: z.string().meta({ description: 'added or changed' }) })),
  lacking: z.array(z.string()).meta({ description: 'published of these types, and not given: it stays' }),
  checked: z
    .object({
      ok: z.boolean(),
      faults: z.array(z.string()),
      unlocked: z.array(z.string()),
      missing: z.array(z.string()),
      inTheWay: z.int(),
      types: z.array(z.unknown()),
    })
    .meta({ description: 'as tidegate schema check --json says it: docs/SCHEMAS.md, Compatibility' }),
  stored: z
    .object({
      ok: z.boolean(),
      upTo: z.string(),
      withoutShapes: z.string().optional(),
      shapesAre: z.string().optional(),
      verdicts: z.array(
        z.object({
          type: z.string(),
          version: z.int(),
          partitions: z.object({ there: z.int(), read: z.array(z.string()), tails: z.array(z.string()) }),
          letters: z.object({
            refused: z.int(),
            wouldPass: z.int(),
            others: z.int(),
            wouldFail: z.int(),
          }),
          groups: z.array(
            z.object({
              version: z.int().optional(),
              stored: z.int(),
              failing: z.int(),
              standing: z.string(),
              because: z.string().optional(),
              steps: z.array(z.string()).optional(),
              first: storedEvent.optional(),
            }),
          ),
        }),
      ),
    })
    .optional()
    .meta({ description: 'what is stored, held against it' }),
})
