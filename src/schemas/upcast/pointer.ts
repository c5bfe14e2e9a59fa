/** Names of members from the data inwards. */
export type MemberPath = readonly [string, ...string[]]

const depthMax = 16
const nameLengthMax = 256

/** A JSON Pointer (RFC 6901) to a member, through objects alone; a text says what is wrong with it. */
export function parsePointer(given: unknown): MemberPath | string {
  if (typeof given !== 'string' || !given.startsWith('/'))
    return 'must be a JSON pointer such as /temperature'
  const names = given
    .slice(1)
    .split('/')
    .map((name) => name.replaceAll('~1', '/').replaceAll('~0', '~'))
  if (names.length > depthMax) return `is more than ${depthMax} members deep`
  const fault = names.map(nameFault).find((found) => found !== undefined)
  return fault ?? (names as unknown as MemberPath)
}

/** What is wrong with the name of a member. */
export function nameFault(name: unknown): string | undefined {
  if (typeof name !== 'string' || name === '') return 'must name a member'
  if (name.length > nameLengthMax) return `names a member of more than ${nameLengthMax} characters`
  if (name === '__proto__') return 'must not name __proto__'
  return isText(name) ? undefined : 'holds characters that PostgreSQL cannot keep'
}

/** Text that any JSON store can hold: PostgreSQL has no U+0000, and UTF-8 no half characters. */
export function isText(text: string): boolean {
  return !text.includes('\0') && text.isWellFormed()
}

/** Whether one of two paths leads through what the other names. */
export function isWithin(one: readonly string[], other: readonly string[]): boolean {
  const [short, long] = one.length <= other.length ? [one, other] : [other, one]
  return short.every((name, index) => long[index] === name)
}
