import type { z } from 'zod'
import type { KnownKeys } from './known-keys.ts'
import { didYouMean } from './nearest.ts'
import { listed } from './words.ts'

type Issue = z.core.$ZodIssue

export interface Fault {
  path: PropertyKey[]
  /** What is wrong, to be read behind the path. */
  text: string
}

interface Surroundings {
  /** What was judged. */
  tree: unknown
  known: KnownKeys
}

/** So many keys are listed where none is near. */
const listedMax = 12

/** What a schema found, as faults of one path each, in words of ours. */
export function faultsOf(
  issues: readonly Issue[],
  surroundings: Surroundings,
  at: PropertyKey[] = [],
): Fault[] {
  return issues.flatMap((issue): Fault[] => {
    const path = [...at, ...issue.path]
    switch (issue.code) {
      case 'unrecognized_keys':
        return issue.keys.map((key) => ({ path: [...path, key], text: unknownKey(key, path, surroundings) }))
      case 'invalid_key':
        return issue.issues.map(({ message }) => ({ path, text: message }))
      case 'invalid_value':
        return [{ path, text: issue.message + meant(path, issue.values.map(String), surroundings) }]
      case 'invalid_union':
        return ofUnion(issue.errors, path, surroundings)
      default:
        return [{ path, text: issue.message }]
    }
  })
}

function unknownKey(key: string, path: readonly PropertyKey[], { known }: Surroundings): string {
  const keys = known.at(path)
  const suggestion = didYouMean(key, keys)
  if (suggestion !== '') return `is no key here${suggestion}`
  return keys.length > 0 && keys.length <= listedMax
    ? `is no key here; there are ${keys.join(', ')}`
    : 'is no key here'
}

function meant(path: readonly PropertyKey[], values: readonly string[], { tree }: Surroundings): string {
  const given = valueAt(tree, path)
  return typeof given === 'string' ? didYouMean(given, values) : ''
}

/** Of several forms the one that was begun is judged; of none, all are told. */
function ofUnion(
  branches: readonly (readonly Issue[])[],
  path: PropertyKey[],
  surroundings: Surroundings,
): Fault[] {
  const begun = branches.find((issues) => issues.length > 0 && issues.every((issue) => !isAboutAll(issue)))
  if (begun) return faultsOf(begun, surroundings, path)
  const values = branches.flatMap((issues) =>
    issues.flatMap((issue) => (issue.code === 'invalid_value' ? issue.values.map(String) : [])),
  )
  const keys = surroundings.known.at(path).map((key) => `${key}: …`)
  return [
    {
      path,
      text: `must be ${listed([...values, ...keys])}${meant(path, values, surroundings)}`,
    },
  ]
}

/** Whether an issue of a form says that it is another form. */
function isAboutAll({ code, path }: Issue): boolean {
  return path.length === 0 && (code === 'invalid_type' || code === 'invalid_value')
}

function valueAt(tree: unknown, path: readonly PropertyKey[]): unknown {
  return path.reduce<unknown>(
    (value, step) =>
      typeof value === 'object' && value !== null ? (value as Record<PropertyKey, unknown>)[step] : undefined,
    tree,
  )
}
