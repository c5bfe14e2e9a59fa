type Members = Readonly<Record<string, unknown>>

const depthMax = 8

/**
 * Some data as a schema describes it: its examples, with all members, and with those alone that are required. Best effort: who wants data
 * that is valid checks it.
 */
export function samplesOf(schema: unknown): unknown[] {
  const examples =
    isObject(schema) && Array.isArray(schema['examples']) ? (schema['examples'] as unknown[]) : []
  return [...examples, sample(schema, schema, 'all', 0), sample(schema, schema, 'required', 0)]
}

function sample(root: unknown, given: unknown, which: 'all' | 'required', depth: number): unknown {
  const schema = depth > depthMax ? undefined : resolved(root, given)
  if (!isObject(schema)) return null
  if (Object.hasOwn(schema, 'const')) return schema['const']
  for (const key of ['enum', 'examples'] as const) {
    const listed = schema[key]
    if (Array.isArray(listed) && listed.length > 0) return listed[0] as unknown
  }
  if (Object.hasOwn(schema, 'default')) return schema['default']
  const kind = kindOf(schema)
  if (kind === 'object') return objectOf(root, schema, which, depth)
  if (kind === 'array') return arrayOf(root, schema, which, depth)
  if (kind === 'string') return 'x'.repeat(Number(schema['minLength'] ?? 1))
  if (kind === 'boolean') return true
  if (kind === 'number' || kind === 'integer') return numberOf(schema)
  return null
}

/** What a reference within the same schema names; `given` itself where there is none. */
function resolved(root: unknown, given: unknown): unknown {
  const $ref = isObject(given) ? given['$ref'] : undefined
  if (typeof $ref !== 'string' || !$ref.startsWith('#/')) return given
  return $ref
    .slice(2)
    .split('/')
    .map((name) => name.replaceAll('~1', '/').replaceAll('~0', '~'))
    .reduce<unknown>((at, name) => (isObject(at) && Object.hasOwn(at, name) ? at[name] : undefined), root)
}

function kindOf(schema: Members): unknown {
  const kind: unknown = [schema['type']].flat()[0]
  return kind ?? (isObject(schema['properties']) ? 'object' : undefined)
}

function objectOf(root: unknown, schema: Members, which: 'all' | 'required', depth: number): Members {
  const properties = isObject(schema['properties']) ? schema['properties'] : {}
  const required = Array.isArray(schema['required']) ? schema['required'].map(String) : []
  const names = which === 'all' ? [...new Set([...Object.keys(properties), ...required])] : required
  // A number is what most readings are of: of a member that nothing is said of too.
  const members = names.map((name) => [
    name,
    isObject(properties[name]) ? sample(root, properties[name], which, depth + 1) : 1,
  ])
  return Object.fromEntries(members) as Members
}

function arrayOf(root: unknown, schema: Members, which: 'all' | 'required', depth: number): unknown[] {
  const length = Math.min(Number(schema['minItems'] ?? 1), 10)
  return Array.from({ length }, () => sample(root, schema['items'], which, depth + 1))
}

/** Within its bounds, and not 0, which measured in most other units is 0 as well. */
function numberOf(schema: Members): number {
  const bound = (name: string): number | undefined =>
    typeof schema[name] === 'number' ? schema[name] : undefined
  const step = bound('multipleOf') ?? 1
  const min = bound('minimum') ?? bound('exclusiveMinimum')
  const max = bound('maximum') ?? bound('exclusiveMaximum')
  if (min === undefined && max === undefined) return step
  if (min === undefined) return Math.min(step, (max as number) - step)
  if (max === undefined) return Math.max(step, Math.ceil(min / step) * step + step)
  const middle = (min + max) / 2
  const near = Math.round(middle / step) * step
  return kindOf(schema) !== 'integer' && bound('multipleOf') === undefined ? middle || max / 2 : near
}

function isObject(value: unknown): value is Members {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
