import { headers as names } from '../../src/contract/wire.ts'
import { codeIn, codeOf } from '../../src/errors.ts'
import type { Delivery, Headers } from '../amqp/delivery.ts'

/** Of what waits for a schema, or for a consumer that reads it. */
export const awaitedCodes: readonly string[] = ['SCHEMA_UNKNOWN', 'SCHEMA_NEWER']

/**
 * Which attempt of its ladder has failed with this: waits for a schema climb none, so that what fails behind them, when the schema is
 * there, has all its attempts (G5).
 */
export function attemptOf(
  { attempt, exchange, headers }: Pick<Delivery, 'attempt' | 'exchange' | 'headers'>,
  error: unknown,
): number {
  const before = exchange === '' ? headers[names.errorCode] : undefined
  const hasWaited = typeof before === 'string' && awaitedCodes.includes(before)
  return hasWaited && !awaitedCodes.includes(codeOf(error)) ? 1 : attempt
}

/** One failed attempt, as listed in the `tidegate-failures` header. */
export interface Failure {
  attempt: number
  at: string
  code: string
  message: string
}

/** As many are kept of one letter, the newest (G7). */
export const listedFailuresMax = 10
const listedMessageLengthMax = 160
const listedTextLengthMax = 100
const storyBytesMax = 16_384

/** The story so far, the last failures of it; empty if there is none, or if it is not ours. Never throws. */
export function readFailures(headers: Headers): Failure[] {
  const text = headers[names.failures]
  // What we wrote is never longer.
  if (typeof text !== 'string' || Buffer.byteLength(text) > storyBytesMax) return []
  try {
    const failures: unknown = JSON.parse(text)
    return Array.isArray(failures) ? failures.filter(isFailure).map(brief).slice(-listedFailuresMax) : []
  } catch {
    return []
  }
}

/** The story with one more failure. */
export function addFailure(headers: Headers, failure: Failure): Failure[] {
  return [...readFailures(headers), brief(failure)].slice(-listedFailuresMax)
}

/** As a header; the oldest are left out if control characters make the text longer than it may be. */
export function listed(failures: readonly Failure[]): string {
  const text = JSON.stringify(failures)
  return Buffer.byteLength(text) <= storyBytesMax ? text : listed(failures.slice(1))
}

function isFailure(value: unknown): value is Failure {
  if (typeof value !== 'object' || value === null) return false
  const { attempt, at, code, message } = value as Partial<Record<keyof Failure, unknown>>
  return Number.isSafeInteger(attempt) && [at, code, message].every((text) => typeof text === 'string')
}

function brief({ attempt, at, code, message }: Failure): Failure {
  return {
    attempt,
    at: at.slice(0, listedTextLengthMax),
    // Anybody may have written the header.
    code: codeIn(code),
    message: message.slice(0, listedMessageLengthMax),
  }
}

/** The last failure of the story, and the story before it as a header; undefined: there is none. */
export function lastFailureOf(headers: Headers): { atMs: number; before: string } | undefined {
  const failures = readFailures(headers)
  const last = failures.at(-1)
  const atMs = last ? Date.parse(last.at) : Number.NaN
  return Number.isNaN(atMs) ? undefined : { atMs, before: listed(failures.slice(0, -1)) }
}
