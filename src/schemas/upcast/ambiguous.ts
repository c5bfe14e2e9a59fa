import { isDeepStrictEqual } from 'node:util'
import { upcastFolder } from '../folder.ts'
import { schemaName, type SchemaRegistry } from '../registry.ts'
import { namesIn, type SchemaSource, textIn } from '../source.ts'
import { parseCases } from './cases.ts'
import { parseUpcast } from './file.ts'
import { samplesOf } from './samples.ts'
import { applySteps } from './steps.ts'

/** Data of the one version, which an upcaster makes something else of, that the other takes as it is. */
export interface Ambiguity {
  type: string
  from: number
  to: number
}

/**
 * Where devices that do not say which version they send would be taken for those of a newer one, whose data means something else: then the
 * upcaster never runs. Looked for with the cases of upcasters and with what is made of the schemas' own examples and bounds, and so not
 * always found. Runs no function; files that cannot be used are told of elsewhere.
 */
export function ambiguitiesIn(source: SchemaSource, registry: SchemaRegistry): Ambiguity[] {
  return registry.types.flatMap((type) => {
    const accepted = registry.versions(type).filter((version) => !registry.retired(type).has(version))
    return namesIn(source, `${type}/${upcastFolder}`).flatMap((name) => {
      const match = /^(\d+)-(\d+)\.(yaml|cases\.json)$/.exec(name)
      const from = Number(match?.[1])
      const next = Number(match?.[2])
      if (!match || !accepted.includes(from) || !registry.has(type, next)) return []
      const text = textIn(source, `${type}/${upcastFolder}/${name}`) ?? ''
      const schema = textIn(source, `${type}/${from}.json`) ?? ''
      const changed = match[3] === 'yaml' ? changedBySteps(text, schema) : changedIn(text)
      const own = changed.filter((data) => registry.firstFault(type, from, data) === undefined)
      const to = accepted
        .filter((version) => version >= next)
        .findLast((version) => own.some((data) => registry.firstFault(type, version, data) === undefined))
      return to === undefined ? [] : [{ type, from, to }]
    })
  })
}

/** Each once, for whoever is to do something about it. */
export function tellingOf(found: readonly Ambiguity[]): string[] {
  const told = found.map(
    ({ type, from, to }) =>
      `${schemaName(type, from)} and ${to} take the same data, which an upcaster says means something else: of a device that names no version it is recorded as ${to}, and not brought forward`,
  )
  return [...new Set(told)]
}

export const ambiguityHint =
  'have devices name their dataschema, set schemaVersion on their routes, or have the newer schema require something that tells the two apart; see docs/VERSIONS.md, Where it ends'

function changedBySteps(text: string, schemaText: string): unknown[] {
  const parsed = parseUpcast(text)
  if (!('steps' in parsed)) return []
  // A default says what was meant all along.
  const steps = parsed.steps.filter(({ kind }) => kind !== 'default')
  const schema: unknown = JSON.parse(schemaText)
  return samplesOf(schema).filter((data) => !isDeepStrictEqual(applySteps(data, steps), data))
}

function changedIn(text: string): unknown[] {
  return parseCases(text)
    .cases.filter(({ from, to }) => !isDeepStrictEqual(from, to))
    .map(({ from }) => from)
}
