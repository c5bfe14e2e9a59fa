/** `a.b` or the JSON pointer `/a/b` (RFC 6901) as steps. */
export function pathOf(text: string | undefined): readonly string[] | undefined {
  if (text === undefined) return undefined
  if (!text.startsWith('/')) return text.split('.')
  return text
    .slice(1)
    .split('/')
    .map((step) => step.replaceAll('~1', '/').replaceAll('~0', '~'))
}

/** The value at a path, own members only; undefined if there is none. */
export function valueAt(value: unknown, path: readonly string[]): unknown {
  let current = value
  for (const step of path) {
    if (typeof current !== 'object' || current === null || !Object.hasOwn(current, step)) return undefined
    current = (current as Record<string, unknown>)[step]
  }
  return current
}
