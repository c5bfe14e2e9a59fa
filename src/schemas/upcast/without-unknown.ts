import type { SchemaFault } from '../compiler.ts'

/** So many members are left out at most: each costs a check (G7). */
const membersMax = 100

/**
 * The data without the members that a closed schema does not know, if it takes the rest: as whoever reads an older version leaves out what
 * was added since (Avro 1.11, "Schema Resolution": fields of the writer that the reader has not are ignored). Else why not. The data itself
 * stays as it is.
 */
export function withoutUnknown(
  data: unknown,
  firstFault: (data: unknown) => SchemaFault | undefined,
): { data: unknown } | { fault: SchemaFault } {
  let fault = firstFault(data)
  if (fault === undefined) return { data }
  const rest: unknown = structuredClone(data)
  for (let left = membersMax; left > 0 && fault !== undefined; left -= 1) {
    if (!removeUnknown(rest, fault)) return { fault }
    fault = firstFault(rest)
  }
  return fault === undefined ? { data: rest } : { fault }
}

function removeUnknown(data: unknown, { instancePath, params }: SchemaFault): boolean {
  const name: unknown = params['additionalProperty'] ?? params['unevaluatedProperty']
  if (typeof name !== 'string') return false
  const names = instancePath
    .split('/')
    .slice(1)
    .map((each) => each.replaceAll('~1', '/').replaceAll('~0', '~'))
  const holder = names.reduce<unknown>(memberOf, data)
  if (typeof holder !== 'object' || holder === null || !Object.hasOwn(holder, name)) return false
  delete (holder as Record<string, unknown>)[name]
  return true
}

function memberOf(value: unknown, name: string): unknown {
  if (typeof value !== 'object' || value === null || !Object.hasOwn(value, name)) return undefined
  return (value as Record<string, unknown>)[name]
}
