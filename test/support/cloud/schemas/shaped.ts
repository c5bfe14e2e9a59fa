import fc from 'fast-check'
import { shapeKinds, type ShapeRow } from '../../../../cloud/projections/built-in/shape-row.ts'
import { Shape } from '../../../../cloud/projections/built-in/shape.ts'
import { schemaOf, takesAll } from '../../../../cloud/schemas/gate/shape-schema.ts'
import type { Json } from '../../../../cloud/schemas/language/json.ts'
import { compileVersions } from '../../../../src/schemas/compiler.ts'
import { documentsNear, pairs } from './pairs.ts'
import { versionsOf } from './verdicts.ts'

/** What is done to a shape on its way. */
export type Change = (rows: readonly ShapeRow[]) => ShapeRow[]

const asItIs: Change = (rows) => [...rows]
/** As if there had been too many values to be listed: then bounds say what there is. */
export const withoutValues: Change = (rows) => rows.map((row) => ({ ...row, values: null }))

export function shapeOf(documents: readonly Json[]): ShapeRow[] {
  const shape = new Shape()
  for (const [at, document] of documents.entries()) shape.add(document, `1.1.${at + 1}`)
  return shape.changed()
}

/** Shapes are wrong in one of these ways at a time: each is to be noticed. */
export const mutations: Readonly<Record<string, Change>> = {
  'the greatest number is a little too small': (rows) =>
    withoutValues(rows).map((row) => ({
      ...row,
      greatest: row.greatest === null ? null : row.greatest - 0.5,
    })),
  'the least number is a little too large': (rows) =>
    withoutValues(rows).map((row) => ({ ...row, least: row.least === null ? null : row.least + 0.5 })),
  'the longest text is one too short': (rows) =>
    withoutValues(rows).map((row) => ({
      ...row,
      greatestLength: row.greatestLength === null ? null : Math.max(0, row.greatestLength - 1),
    })),
  'the shortest text is one too long': (rows) =>
    withoutValues(rows).map((row) => ({
      ...row,
      leastLength: row.leastLength === null ? null : row.leastLength + 1,
    })),
  'the longest array is one too short': (rows) =>
    rows.map((row) => ({
      ...row,
      greatestItems: row.greatestItems === null ? null : Math.max(0, row.greatestItems - 1),
    })),
  'the last value is not listed': (rows) =>
    rows.map((row) => ({ ...row, values: row.values?.slice(0, -1) ?? null })),
  'fractions are taken for whole numbers': (rows) =>
    withoutValues(rows).map((row) => ({ ...row, integers: row.integers + row.fractions, fractions: 0 })),
  'null is forgotten': (rows) =>
    withoutValues(rows).map((row) => ({ ...row, nulls: row.strings + row.integers > 0 ? 0 : row.nulls })),
  'a member that was there once was there always': (rows) =>
    rows.map((row) => ({
      ...row,
      ...Object.fromEntries(shapeKinds.map((kind) => [kind, Math.min(row[kind], 1)])),
    })),
  'what was not listed was not there': (rows) => rows.slice(0, Math.max(1, rows.length - 1)),
}

export interface Excluded {
  /** Shapes that were held against a version. */
  shapes: number
  /** Of which nobody would read anything. */
  excluded: number
  /** And of those, where a document fails all the same. */
  wrongly: string[]
}

/** Documents of which some break a version, in parts: no part in which one does may be excluded. Ends at so many that are. */
export function excludedOf(
  count: number,
  seed: number,
  change: Change = asItIs,
  wronglyMax = Infinity,
): Excluded {
  const found: Excluded = { shapes: 0, excluded: 0, wrongly: [] }
  for (const pair of fc.sample(pairs, { numRuns: count, seed })) {
    if (found.wrongly.length >= wronglyMax) break
    const versions = versionsOf(pair.writer, pair.reader)
    if (versions === undefined) continue
    const { reader } = versions
    const documents = [...documentsNear([pair.writer, pair.reader], 40, pair.seed)]
    const fails = (document: Json): boolean => reader.validate(document).some(({ keyword }) => keyword !== '')
    const fine = documents.filter((document) => !fails(document))
    const parts = [
      documents.slice(0, 20),
      documents.slice(20),
      ...documents.slice(0, 8).map((one) => [one, ...fine.slice(0, 4)]),
      fine,
      fine.slice(0, 3),
    ]
    for (const part of parts.filter(({ length }) => length > 0)) {
      found.shapes += 1
      const rows = change(shapeOf(part))
      if (!takesAll(schemaOf(rows), reader.schema, [pair.writer, reader.schema])) continue
      found.excluded += 1
      const failing = part.find(fails)
      if (failing !== undefined)
        found.wrongly.push(`${JSON.stringify(failing)} fails ${JSON.stringify(reader.schema)}`)
    }
  }
  return found
}

/** Whether the schema of a shape accepts a document, as it is compiled. */
export function accepts(schema: Json, document: Json): boolean {
  const { validators } = compileVersions(new Map([[1, schema]]))
  const [, validate] = [...validators][0] ?? []
  return validate?.(document).length === 0
}
