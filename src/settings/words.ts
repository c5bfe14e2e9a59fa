import type { z } from 'zod'

type RawIssue = z.core.$ZodRawIssue

const kinds: Readonly<Record<string, string>> = {
  string: 'text',
  number: 'a number',
  int: 'a whole number',
  boolean: 'true or false',
  array: 'a list',
  object: 'a mapping of keys',
  record: 'a mapping of keys',
}

/** What is wanted where a schema has no words of its own. What was given is shown only where it can hold no secret. */
export function wordsFor(issue: RawIssue): string {
  switch (issue.code) {
    case 'invalid_type':
      return issue.input === undefined
        ? 'is required'
        : `must be ${kinds[issue.expected] ?? issue.expected}, and is ${shown(issue.input)}`
    case 'invalid_value':
      return `must be ${listed(issue.values.map(String))}, and is ${shown(issue.input)}`
    case 'too_small':
      return tooSmall(issue.origin, Number(issue.minimum), issue.inclusive ?? true) + butIs(issue.input)
    case 'too_big':
      return tooBig(issue.origin, Number(issue.maximum)) + butIs(issue.input)
    default:
      return 'has a form that is not taken here'
  }
}

/** `a, b or c` */
export function listed(words: readonly string[]): string {
  return words.length < 2 ? words.join('') : `${words.slice(0, -1).join(', ')} or ${words.at(-1)}`
}

function tooSmall(origin: string, minimum: number, inclusive: boolean): string {
  if (origin === 'string')
    return minimum === 1 ? 'must not be empty' : `must have at least ${minimum} letters`
  if (origin === 'array') return `must have at least ${minimum === 1 ? 'one entry' : `${minimum} entries`}`
  return inclusive ? `must be at least ${minimum}` : `must be above ${minimum}`
}

function tooBig(origin: string, maximum: number): string {
  if (origin === 'string') return `must have at most ${maximum} letters`
  return origin === 'array' ? `must have at most ${maximum} entries` : `must be at most ${maximum}`
}

function butIs(input: unknown): string {
  return typeof input === 'number' ? `, and is ${input}` : ''
}

const lettersShown = 40

function shown(value: unknown): string {
  if (value === null) return 'empty'
  if (Array.isArray(value)) return 'a list'
  if (typeof value === 'object') return 'a mapping'
  if (typeof value === 'number' || typeof value === 'boolean') return String(value)
  if (typeof value !== 'string') return 'something else'
  // An address may hold a password.
  return value.length > lettersShown || value.includes('@') ? 'another text' : JSON.stringify(value)
}
