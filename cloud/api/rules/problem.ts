import { codeOf, isAbort, messageOf, TidegateError } from '../../../src/errors.ts'

/** What is wrong with a request, at which path of it. */
export interface RequestFault {
  path: string
  text: string
}

export interface RefusalOptions {
  code: string
  /** HTTP status. */
  status: number
  message: string
  hint: string
  /** Default false. */
  retryable?: boolean
  faults?: readonly RequestFault[]
  /** Further header fields of the answer. */
  headers?: Readonly<Record<string, string>>
}

/** A request that is not served, and why: becomes a problem (RFC 9457). */
export class Refusal extends TidegateError {
  readonly status: number
  readonly faults: readonly RequestFault[]
  readonly headers: Readonly<Record<string, string>>

  constructor({ code, status, message, hint, retryable = false, faults = [], headers = {} }: RefusalOptions) {
    super(code, { message, hint, retryable })
    this.status = status
    this.faults = faults
    this.headers = headers
  }
}

/** The body of `application/problem+json`; `code`, `hint` and `faults` are extension members. */
export interface Problem {
  /** A tag URI (RFC 4151) of the code, which has its line in docs/ERRORS.md. */
  type: string
  title: string
  status: number
  code: string
  detail: string
  hint: string
  faults?: readonly RequestFault[]
}

const titles: Readonly<Record<number, string>> = {
  400: 'The request cannot be read',
  401: 'Nobody is signed in',
  403: 'This is not for you to do',
  404: 'There is no such thing',
  405: 'Not in this way',
  409: 'It stands in the way of something else',
  412: 'It has changed meanwhile',
  413: 'Too much at once',
  415: 'Not in this form',
  421: 'Not by this name',
  422: 'It is not as it must be',
  428: 'A precondition is missing',
  429: 'Too often',
  500: 'Something went wrong here',
  501: 'Not by this cloud',
  503: 'Not now',
}

export function problemOf(error: Refusal): Problem {
  const { code, status, message, hint, faults } = error
  return {
    type: `tag:tidegate.dev,2026:errors/${code}`,
    title: titles[status] ?? 'Refused',
    status,
    code,
    detail: message,
    hint,
    ...(faults.length > 0 && { faults }),
  }
}

/** Statuses of what parts behind the API refuse: codes of theirs that say more than whether the same may succeed later. */
const statuses: readonly [pattern: RegExp, status: number][] = [
  [/(_UNKNOWN|_NOT_FOUND)$/, 404],
  [/(_INVALID|_VIOLATION|_FAULTY)$/, 422],
  [/_CHANGED$/, 412],
  [/^(TOOK_TOO_LONG|SCHEMA_SNAPSHOT|SCHEMA_FOLDER)$/, 422],
]

/**
 * What was thrown, as a refusal. Of what nobody threw on purpose nothing is told but that it happened: its message may quote what a device
 * sent, or say how the database is reached.
 */
export function refusalOf(error: unknown): Refusal {
  if (error instanceof Refusal) return error
  if (isAbort(error)) return stopping()
  if (isOf(error, deadlocked)) return inTheWay()
  if (!(error instanceof TidegateError)) {
    return new Refusal({
      code: 'API_FAILED',
      status: 500,
      message: `the request could not be served (${codeOf(error)})`,
      hint: 'the log of this cloud says why, under the same code; a write with the same Idempotency-Key can be repeated',
      retryable: true,
    })
  }
  const { code, retryable, hint } = error
  const isOfDatabase = code.startsWith('DATABASE_')
  const status = retryable ? 503 : (statuses.find(([pattern]) => pattern.test(code))?.[1] ?? 409)
  const message = isOfDatabase ? 'the database does not answer as it should' : messageOf(error)
  return new Refusal({ code, status, message, hint, retryable })
}

/** PostgreSQL gave a statement up that took longer than it may. */
const givenUp = '57014'

/** And a transaction, because it and another waited for each other. */
const deadlocked = '40P01'

/** What was thrown, or that it took too long. */
export function translatedTimeout(error: unknown): unknown {
  return isOf(error, givenUp) ? tookTooLong() : error
}

function isOf(error: unknown, state: string): boolean {
  const cause = error instanceof TidegateError ? error.cause : undefined
  return codeOf(error) === state || codeOf(cause) === state
}

export function tookTooLong(): Refusal {
  return new Refusal({
    code: 'TOOK_TOO_LONG',
    status: 422,
    message: 'this takes longer than anything that is asked for here may: nothing was changed',
    hint: 'narrow the filter: a group, a failure group (fingerprint), a device, a time',
  })
}

function inTheWay(): Refusal {
  return new Refusal({
    code: 'API_BUSY',
    status: 503,
    message: 'somebody else had the same rows in hand at the same time, and was let through first',
    hint: 'ask again, with the same Idempotency-Key: it is done once',
    retryable: true,
    headers: { 'retry-after': '1' },
  })
}

function stopping(): Refusal {
  return new Refusal({
    code: 'API_STOPPING',
    status: 503,
    message: 'this cloud stops, and could not end what was asked for before that',
    hint: 'ask again, with the same Idempotency-Key: it is done once',
    retryable: true,
    headers: { 'retry-after': '5' },
  })
}
