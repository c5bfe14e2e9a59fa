import { z } from 'zod'
import { figureNames } from './figures.ts'
import type { Measured } from './rounds.ts'

const machine = z.strictObject({
  cores: z.int().min(1),
  model: z.string(),
  node: z.string(),
  kernel: z.string(),
  /** Load average of the minute before. */
  loadBefore: z.number(),
})

export type Machine = z.output<typeof machine>

const figuresOf = z.partialRecord(z.enum(figureNames), z.array(z.number()).min(1))

const caseResult = z.strictObject({
  name: z.string(),
  measuredAt: z.iso.datetime(),
  /** Commit that was measured; with `+` behind it if files had changed since. */
  revision: z.string(),
  full: z.boolean(),
  rounds: z.int().min(1),
  machine,
  subjects: z.array(
    z.strictObject({ name: z.string(), revision: z.string().optional(), figures: figuresOf }),
  ),
})

export type CaseResult = z.output<typeof caseResult>

/** What `bench/results.json` and the file of `--json` hold. */
export const resultsSchema = z.strictObject({ version: z.literal(1), cases: z.array(caseResult) })

export type Results = z.output<typeof resultsSchema>

/** @throws ZodError, SyntaxError */
export function readResults(text: string): Results {
  return resultsSchema.parse(JSON.parse(text))
}

/** Cases that were measured anew take the place of their former results. */
export function mergeResults(
  former: Results,
  newer: readonly CaseResult[],
  order: readonly string[],
): Results {
  const cases = new Map([...former.cases, ...newer].map((result) => [result.name, result]))
  return { version: 1, cases: order.flatMap((name) => cases.get(name) ?? []) }
}

/** In a result values have the digits that a ratio needs, and no more. */
export function subjectsOf(measured: readonly Measured[]): CaseResult['subjects'] {
  return measured.map(({ subject, revision, figures }) => ({
    name: subject,
    ...(revision !== undefined && { revision }),
    figures: Object.fromEntries(
      Object.entries(figures).map(([name, values]) => [
        name,
        values.map((value) => Number(value.toPrecision(5))),
      ]),
    ),
  }))
}
