import { TidegateError } from '../../src/errors.ts'

/** Which letters; at least one condition. All of them hold. */
export interface LetterFilter {
  group?: string
  code?: string
  fingerprint?: string
  device?: string
  type?: string
  letter?: number
  /** It has failed last at or after this, ms since the Unix epoch. */
  sinceMs?: number
  /** It has failed last before this, ms since the Unix epoch. */
  untilMs?: number
}

/** Conditions of a statement, and what they compare with. */
export interface Conditions {
  sql: string
  values: unknown[]
}

/**
 * Of a table with a letter's key, source, ID and generation: the letter is that of its event, which was believed to come from where it says. Any other is known by its
 * bytes, and may be a forgery: what its columns say of an event is what it says itself (G9).
 */
export function isOfItsEventIn(table: string): string {
  return `(${table}.key = sha256(convert_to('event' || chr(10) || ${table}.source || chr(10) || ${table}.id || coalesce(chr(10) || ${table}.generation, ''), 'UTF8'))) is true`
}

/** Of `tidegate.dead_letters as d`. */
export const isOfItsEvent = isOfItsEventIn('d')

const comparisons: Readonly<Record<keyof LetterFilter, (parameter: string) => string>> = {
  group: (parameter) => `d.consumer_group = ${parameter}`,
  code: (parameter) => `d.code = ${parameter}`,
  fingerprint: (parameter) => `d.fingerprint = ${parameter}`,
  device: (parameter) => `d.device = ${parameter}`,
  type: (parameter) => `d.type = ${parameter}`,
  letter: (parameter) => `d.letter = ${parameter}`,
  sinceMs: (parameter) => `d.last_failed_at >= to_timestamp(${parameter}::float8 / 1000)`,
  untilMs: (parameter) => `d.last_failed_at < to_timestamp(${parameter}::float8 / 1000)`,
}

/**
 * Of `tidegate.dead_letters as d`; its parameters come behind those that are there.
 * @throws TidegateError `FILTER_EMPTY`: all letters of all groups are nobody's wish; `DEED_INVALID` for what is no condition.
 */
export function conditionsOf(filter: LetterFilter, before: readonly unknown[]): Conditions {
  const values = [...before]
  const conditions = Object.entries(filter)
    .filter(([, value]) => value !== undefined)
    .map(([name, value]) => {
      if (!Object.hasOwn(comparisons, name)) throw unknown(name)
      // PostgreSQL has no text with it, and so no letter.
      values.push(typeof value === 'string' ? value.replaceAll('\0', '\ufffd') : value)
      return comparisons[name as keyof LetterFilter](`$${values.length}`)
    })
  if (conditions.length === 0) throw empty()
  return { sql: conditions.join(' and '), values }
}

function empty(): TidegateError {
  return new TidegateError('FILTER_EMPTY', {
    message: 'no condition says which letters are meant',
    retryable: false,
    hint: 'name a group at the least',
  })
}

function unknown(name: string): TidegateError {
  return new TidegateError('DEED_INVALID', {
    message: `${name.slice(0, 60)} is no condition on letters`,
    retryable: false,
    hint: `conditions are ${Object.keys(comparisons).join(', ')}`,
  })
}
