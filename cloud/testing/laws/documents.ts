import type { Random } from '../../../src/clock.ts'
import { between, pick } from './random.ts'
import { matching, textOf } from './texts.ts'

type Schema = Readonly<Record<string, unknown>>

const depthMax = 8

/**
 * Data that a JSON Schema most likely allows, and at its limits more often than not: whoever asks checks it. What the schema does not
 * bound is made as large as JSON numbers are exact.
 */
export function documentOf(root: unknown, random: Random): unknown {
  return new Maker(root, random).make(root, 0)
}

class Maker {
  readonly #root: unknown
  readonly #random: Random

  constructor(root: unknown, random: Random) {
    this.#root = root
    this.#random = random
  }

  make(given: unknown, depth: number): unknown {
    const schema = this.#resolved(given, depth)
    if ('const' in schema) return schema['const']
    const { enum: values } = schema
    if (isFull(values)) return pick(this.#random, values)
    switch (this.#typeOf(schema)) {
      case 'object':
        return this.#object(schema, depth)
      case 'array':
        return this.#array(schema, depth)
      case 'string':
        return this.#text(schema)
      case 'integer':
        return this.#number(schema, true)
      case 'number':
        return this.#number(schema, false)
      case 'boolean':
        return this.#random() < 0.5
      default:
        return null
    }
  }

  /** With what it refers to, one of its alternatives, and all that it demands besides. */
  #resolved(given: unknown, depth: number): Schema {
    if (!isObject(given) || depth > depthMax * 4) return {}
    const { $ref, allOf, anyOf, oneOf, ...own } = given
    const parts: unknown[] = []
    if (typeof $ref === 'string') parts.push(this.#referred($ref))
    if (isFull(allOf)) parts.push(...allOf)
    for (const alternatives of [anyOf, oneOf])
      if (isFull(alternatives)) parts.push(pick(this.#random, alternatives))
    return parts.map((part) => this.#resolved(part, depth + 1)).reduce<Schema>(together, own)
  }

  /** Within the schema: `#/$defs/unit`. */
  #referred(pointer: string): unknown {
    if (!pointer.startsWith('#')) return {}
    return pointer
      .slice(1)
      .split('/')
      .filter((step) => step !== '')
      .map((step) => decodeURIComponent(step).replaceAll('~1', '/').replaceAll('~0', '~'))
      .reduce<unknown>((at, step) => (isObject(at) ? at[step] : undefined), this.#root)
  }

  #typeOf(schema: Schema): unknown {
    const { type } = schema
    if (isFull(type)) return pick(this.#random, type)
    if (type !== undefined) return type
    if ('properties' in schema || 'required' in schema || 'additionalProperties' in schema) return 'object'
    if ('items' in schema || 'prefixItems' in schema || 'minItems' in schema) return 'array'
    if ('pattern' in schema || 'minLength' in schema || 'maxLength' in schema) return 'string'
    if (['minimum', 'maximum', 'exclusiveMinimum', 'multipleOf'].some((key) => key in schema)) return 'number'
    return pick(this.#random, ['string', 'integer', 'boolean', 'null', 'object'])
  }

  #object(schema: Schema, depth: number): unknown {
    const properties = isObject(schema['properties']) ? schema['properties'] : {}
    const required = Array.isArray(schema['required']) ? (schema['required'] as unknown[]).map(String) : []
    const optional = Object.keys(properties).filter((name) => !required.includes(name))
    const share = pick(this.#random, [0, 0.5, 1])
    const chosen = depth > depthMax ? [] : optional.filter(() => this.#random() < share)
    return Object.fromEntries(
      [...required, ...chosen].map((name) => [
        name,
        Object.hasOwn(properties, name) ? this.make(properties[name], depth + 1) : this.make({}, depthMax),
      ]),
    )
  }

  #array(schema: Schema, depth: number): unknown[] {
    const first = Array.isArray(schema['prefixItems']) ? (schema['prefixItems'] as unknown[]) : []
    const min = numberAt(schema, 'minItems') ?? first.length
    const max = Math.min(numberAt(schema, 'maxItems') ?? min + 3, min + 20)
    const length = depth > depthMax ? min : pick(this.#random, [min, max, between(this.#random, min, max)])
    return Array.from({ length }, (_, index) => this.make(first[index] ?? schema['items'] ?? {}, depth + 1))
  }

  #text(schema: Schema): string {
    const { pattern, format } = schema
    const made = typeof pattern === 'string' ? matching(pattern, this.#random) : undefined
    if (made !== undefined) return made
    if (format === 'date-time')
      return pick(this.#random, ['2026-02-28T23:59:59.999Z', '2024-02-29T00:00:00+14:00'])
    if (format === 'date') return '2024-02-29'
    if (format === 'uuid') return '00000000-0000-4000-8000-000000000000'
    return textOf(this.#random, numberAt(schema, 'minLength'), numberAt(schema, 'maxLength'))
  }

  #number(schema: Schema, isWhole: boolean): number {
    const step = numberAt(schema, 'multipleOf') ?? (isWhole ? 1 : 0)
    const nudge = step || 0.001
    const above = numberAt(schema, 'exclusiveMinimum')
    const below = numberAt(schema, 'exclusiveMaximum')
    const min = numberAt(schema, 'minimum') ?? (above === undefined ? Number.MIN_SAFE_INTEGER : above + nudge)
    const max = numberAt(schema, 'maximum') ?? (below === undefined ? Number.MAX_SAFE_INTEGER : below - nudge)
    const within = min + this.#random() * (max - min)
    const small = Math.min(max, Math.max(min, between(this.#random, -10, 100) * nudge))
    const made = pick(this.#random, [min, max, within, small, Math.min(max, Math.max(min, 0))])
    if (step === 0) return made
    const rounded = Math.round(made / step) * step
    // Of steps such as 0.1 the product is not what JSON has.
    return Number(rounded.toPrecision(15))
  }
}

/** Data that is simpler by one step, the simplest first. */
export function simpler(value: unknown): unknown[] {
  if (Array.isArray(value))
    return [
      ...value.map((_, index) => value.toSpliced(index, 1) as unknown[]),
      ...value.flatMap((item, index) => simpler(item).map((one) => value.with(index, one) as unknown[])),
    ]
  if (isObject(value)) {
    const names = Object.keys(value)
    return [
      ...names.map((name) => Object.fromEntries(Object.entries(value).filter(([each]) => each !== name))),
      ...names.flatMap((name) => simpler(value[name]).map((one) => ({ ...value, [name]: one }))),
    ]
  }
  if (typeof value === 'string' && value !== '')
    return [...new Set(['', 'a', value.slice(0, Math.floor(value.length / 2))])].filter(
      (one) => one !== value,
    )
  if (typeof value === 'number')
    return [0, 1, Math.trunc(value / 2), Math.trunc(value)].filter((one) => Math.abs(one) < Math.abs(value))
  return value === true ? [false] : []
}

function together(one: Schema, other: Schema): Schema {
  const properties = { ...(one['properties'] as object), ...(other['properties'] as object) }
  const required = [...((one['required'] as unknown[]) ?? []), ...((other['required'] as unknown[]) ?? [])]
  return {
    ...one,
    ...other,
    ...(Object.keys(properties).length > 0 && { properties }),
    ...(required.length > 0 && { required: [...new Set(required)] }),
  }
}

function numberAt(schema: Schema, key: string): number | undefined {
  const value = schema[key]
  return typeof value === 'number' ? value : undefined
}

function isObject(value: unknown): value is Schema {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function isFull(value: unknown): value is [unknown, ...unknown[]] {
  return Array.isArray(value) && value.length > 0
}
