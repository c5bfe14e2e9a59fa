export type Json = null | boolean | number | string | readonly Json[] | { readonly [name: string]: Json }

/** What a value can be, as far as JSON Schema tells it: whole numbers and others are two kinds. */
export const allKinds = ['null', 'boolean', 'integer', 'fraction', 'string', 'array', 'object'] as const
export type Kind = (typeof allKinds)[number]

export function kindOf(value: Json): Kind {
  if (value === null) return 'null'
  if (Array.isArray(value)) return 'array'
  if (typeof value === 'number') return value % 1 === 0 ? 'integer' : 'fraction'
  return typeof value as 'boolean' | 'string' | 'object'
}

export function isMapping(value: unknown): value is Readonly<Record<string, Json>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** As JSON Schema has it: objects in whatever order, numbers by value. */
export function areEqual(one: Json, other: Json): boolean {
  if (one === other) return true
  if (Array.isArray(one) && Array.isArray(other))
    return one.length === other.length && one.every((item: Json, at) => areEqual(item, other[at] as Json))
  if (!isMapping(one) || !isMapping(other)) return false
  const names = Object.keys(one)
  return (
    names.length === Object.keys(other).length &&
    names.every((name) => Object.hasOwn(other, name) && areEqual(one[name] as Json, other[name] as Json))
  )
}

/** Characters are code points. */
export function lengthOf(text: string): number {
  let length = 0
  for (const _ of text) length += 1
  return length
}

/** A name that every object of JavaScript has without being given it, and which ajv therefore finds in data that has it not. */
export function isInherited(name: string): boolean {
  return name in Object.prototype
}
