export type Json = Readonly<Record<string, unknown>>

export function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

export function textIn(object: unknown, name: string): string | undefined {
  const value = isObject(object) ? object[name] : undefined
  return typeof value === 'string' ? value : undefined
}

/** What a pointer within a document (RFC 6901, as the fragment of a URI) leads to; undefined: nothing. */
export function resolvePointer(document: unknown, pointer: string): unknown {
  let found = document
  for (const part of pointer.replace(/^#\/?/, '').split('/')) {
    if (part === '' && pointer.length < 3) return found
    const step = decoded(part).replaceAll('~1', '/').replaceAll('~0', '~')
    if (typeof found !== 'object' || found === null || !Object.hasOwn(found, step)) return undefined
    found = (found as Record<string, unknown>)[step]
  }
  return found
}

function decoded(part: string): string {
  try {
    return decodeURIComponent(part)
  } catch {
    return part
  }
}

/** Members that are undefined are left out, so that two documents that are written alike are alike. */
export function present(object: Json): Json {
  return Object.fromEntries(Object.entries(object).filter(([, value]) => value !== undefined))
}

/** Values of these keywords are data, whatever they look like. */
export const dataKeywords: ReadonlySet<string> = new Set('const enum default examples'.split(' '))

/** Members of these are schemas, whatever they are called. */
export const mapsOfSchemas: ReadonlySet<string> = new Set(
  'properties patternProperties $defs definitions dependentSchemas dependencies'.split(' '),
)

/** Every `$ref` in a document. `isMap`: its members have names, and are no keywords. */
export function referencesIn(value: unknown, isMap = false): string[] {
  if (Array.isArray(value)) return value.flatMap((one) => referencesIn(one))
  if (!isObject(value)) return []
  return Object.entries(value).flatMap(([key, one]) => {
    if (isMap) return referencesIn(one)
    if (key === '$ref' && typeof one === 'string') return [one]
    return dataKeywords.has(key) ? [] : referencesIn(one, mapsOfSchemas.has(key))
  })
}
