import { isObject, resolvePointer } from './json.ts'

const depthMax = 16

/**
 * Data that a person can take for an example of a schema: its own `examples` where it has them, else one that is made of what it says,
 * the same every time. What is made need not conform (`not`, `pattern` and their like are not looked at): whoever shows it asks the
 * registry first.
 */
export function exampleData(schema: unknown): unknown[] {
  const own = isObject(schema) ? schema['examples'] : undefined
  return Array.isArray(own) && own.length > 0 ? own : [make(schema, schema, 0)]
}

function make(schema: unknown, root: unknown, depth: number): unknown {
  if (!isObject(schema) || depth > depthMax) return {}
  const given = givenBy(schema)
  if (given !== undefined) return given.value
  const { $ref: reference, ...beside } = schema
  if (typeof reference === 'string') {
    const target = reference.startsWith('#') ? resolvePointer(root, reference) : undefined
    return make({ ...(isObject(target) ? target : {}), ...beside }, root, depth + 1)
  }
  const [choice] = [schema['oneOf'], schema['anyOf']].find((one) => Array.isArray(one)) ?? []
  const all = Array.isArray(schema['allOf']) ? (schema['allOf'] as unknown[]) : []
  const parts = [...all, choice].filter(isObject)
  if (parts.length > 0) {
    const { allOf: _, oneOf: __, anyOf: ___, ...own } = schema
    return make([...parts, own].reduce(joined), root, depth + 1)
  }
  return ofType(schema, root, depth)
}

/** What a schema itself says its value is, or may be. */
function givenBy(schema: Record<string, unknown>): { value: unknown } | undefined {
  if (Object.hasOwn(schema, 'const')) return { value: schema['const'] }
  for (const keyword of ['examples', 'enum']) {
    const values = schema[keyword]
    if (Array.isArray(values) && values.length > 0) return { value: values[0] as unknown }
  }
  return Object.hasOwn(schema, 'default') ? { value: schema['default'] } : undefined
}

function joined(one: Record<string, unknown>, other: Record<string, unknown>): Record<string, unknown> {
  const properties = { ...(one['properties'] as object), ...(other['properties'] as object) }
  return { ...one, ...other, ...(Object.keys(properties).length > 0 && { properties }) }
}

function ofType(schema: Record<string, unknown>, root: unknown, depth: number): unknown {
  const [type = 'properties' in schema ? 'object' : 'number'] = [schema['type']].flat()
  switch (type) {
    case 'object':
      return objectOf(schema, root, depth)
    case 'array':
      return [schema['prefixItems'] ?? schema['items']].flat().map((item) => make(item, root, depth + 1))
    case 'string':
      return textOf(schema)
    case 'integer':
      return Math.ceil(numberOf(schema, 21))
    case 'boolean':
      return true
    case 'null':
      return null
    default:
      return numberOf(schema, 21.5)
  }
}

function objectOf(schema: Record<string, unknown>, root: unknown, depth: number): unknown {
  const properties = isObject(schema['properties']) ? schema['properties'] : {}
  const required = new Set(Array.isArray(schema['required']) ? (schema['required'] as unknown[]) : [])
  return Object.fromEntries(
    Object.entries(properties)
      // Deep ones are for what recurses.
      .filter(([name]) => depth < 4 || required.has(name))
      .map(([name, one]) => [name, make(dated(name, one), root, depth + 1)]),
  )
}

/** A text that is called a time is one. */
function dated(name: string, schema: unknown): unknown {
  const isTime = /time$/i.test(name) && isObject(schema) && schema['type'] === 'string'
  return isTime ? { format: 'date-time', ...schema } : schema
}

/** What is wished for, if the bounds allow it; else what is in their middle. */
function numberOf(schema: Record<string, unknown>, wished: number): number {
  const bound = (...keywords: string[]): number | undefined =>
    keywords.map((keyword) => schema[keyword]).find((value) => typeof value === 'number')
  const min = bound('minimum', 'exclusiveMinimum') ?? -Infinity
  const max = bound('maximum', 'exclusiveMaximum') ?? Infinity
  const step = bound('multipleOf')
  if (step !== undefined) return step * Math.max(1, Math.ceil((Number.isFinite(min) ? min : 0) / step))
  if (wished > min && wished < max) return wished
  if (Number.isFinite(min) && Number.isFinite(max)) return (min + max) / 2
  return Number.isFinite(min) ? min + 1 : max - 1
}

const texts: Readonly<Record<string, string>> = {
  'date-time': '2026-01-31T12:00:00Z',
  date: '2026-01-31',
  time: '12:00:00Z',
  duration: 'PT1M',
  email: 'name@example.com',
  hostname: 'host.example',
  ipv4: '192.0.2.1',
  ipv6: '2001:db8::1',
  uri: 'https://example.com/',
  'uri-reference': '/',
  uuid: '0b9de2f4-2f6c-4c58-9a0e-6f3d1f6d2a11',
}

function textOf({ format, minLength = 0, maxLength = Infinity }: Record<string, unknown>): string {
  const text = texts[String(format)] ?? 'text'
  return text.padEnd(Number(minLength), '-').slice(0, Number(maxLength))
}
