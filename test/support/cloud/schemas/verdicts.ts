import {
  compare,
  type CompareOptions,
  type Comparison,
} from '../../../../cloud/schemas/compatibility/compare.ts'
import type { Version } from '../../../../cloud/schemas/compatibility/version.ts'
import type { Json } from '../../../../cloud/schemas/language/json.ts'
import { compileVersions } from '../../../../src/schemas/compiler.ts'
import { documentsNear, type Pair } from './pairs.ts'

/** Two versions as they are compiled; undefined: one of them is no schema. */
export function versionsOf(
  writer: unknown,
  reader: unknown,
): { writer: Version; reader: Version } | undefined {
  const { validators, faults } = compileVersions(
    new Map([
      [1, writer],
      [2, reader],
    ]),
  )
  if (faults.size > 0) return undefined
  const version = (number: number, schema: unknown): Version => ({
    version: number,
    schema: schema as Json,
    validate: validators.get(number) as Version['validate'],
  })
  return { writer: version(1, writer), reader: version(2, reader) }
}

/** @throws Error one of them is no schema */
export function verdictOf(writer: unknown, reader: unknown, options: CompareOptions = {}): Comparison {
  const versions = versionsOf(writer, reader)
  if (versions === undefined) throw new Error(`no schema: ${JSON.stringify([writer, reader])}`)
  return compare(versions.writer, versions.reader, options)
}

/**
 * What is wrong with a verdict about a pair: a document that refutes "compatible", made by somebody who knows nothing of rules; or a witness that
 * is none. Undefined: nothing; `answer` says which it was.
 */
export function faultOfVerdict(
  { writer, reader, seed }: Pair,
  options: CompareOptions & { strangers?: number } = {},
): { answer: Comparison['answer'] | 'no schema'; fault?: string } {
  const versions = versionsOf(writer, reader)
  if (versions === undefined) return { answer: 'no schema' }
  const isBreak = (document: Json): boolean =>
    versions.writer.validate(document).length === 0 &&
    versions.reader.validate(document).some(({ keyword }) => keyword !== '')
  const { answer, findings } = compare(versions.writer, versions.reader, { seed, ...options })
  const told = `${JSON.stringify(writer)} read by ${JSON.stringify(reader)}`
  const unexplained = findings.find(
    ({ rule, schemaPath, answer: said }) =>
      said === 'incompatible' && schemaPath === 'generated' && rule !== '',
  )
  if (unexplained && findings.length === 1)
    return { answer, fault: `${told}: no rule told of ${JSON.stringify(unexplained.witness)}` }
  const false_ = findings.find(({ witness }) => witness !== undefined && !isBreak(witness))
  if (false_) return { answer, fault: `${told}: ${JSON.stringify(false_.witness)} is no witness` }
  if (answer !== 'compatible') return { answer }
  for (const document of documentsNear([writer, reader], options.strangers ?? 200, seed))
    if (isBreak(document))
      return { answer, fault: `${told}: ${JSON.stringify(document)} is accepted and then refused` }
  return { answer }
}
