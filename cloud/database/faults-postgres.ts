import { DatabaseError } from 'pg'
import { codeOf, messageOf, TidegateError } from '../../src/errors.ts'

/**
 * Whose fault it is that a statement failed, by SQLSTATE (PostgreSQL 15, Appendix A). An outage is nobody's who sent an event: it
 * is waited out, and costs no attempt (G5).
 */

/**
 * What a value can be at fault for: it is there twice where it may be once (21), it is no such value (22), it breaks a constraint
 * (23), it is over a limit of PostgreSQL (54, as JSON that is nested too deep), a function of ours refuses it (TG). And 25P02 says no more than that a statement before
 * this one failed. No value can help it that a sequence has come to its end (2200H).
 */
const valueState = /^((21|22(?!00H)|23|54|TG)...|25P02)$/
/**
 * What a consumer's statement cannot be at fault for: the connection (08), what the server is short of (53), that it is stopped
 * or starts (57P), its files (58), damage (XX), that it is read-only (25006) or lets nobody in (28, 3D).
 */
const serverState = /^(08...|53...|57P0[1-5]|58...|XX...|25006|28...|3D000)$/
/**
 * Of those, what a statement can be at fault for all the same: parameters that do not fit it (08P01), an error that somebody's
 * function or extension raised without a state (XX000), its own setting (53400). A server that cannot go on says FATAL or PANIC; one
 * that says it in another language of its `lc_messages` costs an attempt, which is less than a lane that waits for ever.
 */
const ambiguousState = /^(08P01|XX000|53400)$/

/** What pg throws without a code when the connection is gone. */
const connectionMessage =
  /connection (terminated|timeout|ended)|connection error|query read timeout|timeout exceeded|not queryable/i
const tlsCode =
  /^(SELF_SIGNED_CERT_IN_CHAIN|DEPTH_ZERO_SELF_SIGNED_CERT|UNABLE_TO_\w+|CERT_\w+|ERR_TLS_\w+|ERR_SSL_\w+|ERR_OSSL_\w+|EPROTO)$/
const tlsMessage = /server does not support SSL|error establishing an SSL connection/

interface Kind {
  code: string
  is(state: string, error: unknown): boolean
  what: string
  retryable: boolean
  hint: string
}

/** The first that fits; the last fits all. */
const kinds: readonly Kind[] = [
  {
    code: 'DATABASE_TLS',
    is: (_, error) => isTlsFault(error),
    what: 'and we found no way to speak TLS',
    retryable: false,
    hint: 'sslrootcert in database.url must be the CA of the server’s certificate, which must name the host; the server needs ssl = on',
  },
  {
    code: 'DATABASE_REFUSED',
    is: (state) => /^(28...|3D000)$/.test(state),
    what: 'refused us',
    retryable: false,
    hint: 'check the user, the password and the database name in database.url',
  },
  {
    code: 'DATABASE_DENIED',
    is: (state) => state === '42501',
    what: 'does not let our user do what it must',
    retryable: false,
    hint: 'run `tidegate cloud --migrate` as a member of tidegate_owner, which must own the schema and everything in it: it gives each role its rights',
  },
  {
    code: 'DATABASE_ALTERED',
    is: (state) => /^(42...|3F000)$/.test(state),
    what: 'has not the tables we made',
    retryable: false,
    hint: 'see who changes the schema tidegate; what is missing is in a backup',
  },
  {
    code: 'DATABASE_UNREACHABLE',
    is: (state, error) => !(error instanceof DatabaseError) || /^(08|53|57)...$/.test(state),
    what: 'cannot be reached',
    retryable: true,
    hint: 'see whether PostgreSQL runs there and database.url is right',
  },
  {
    code: 'DATABASE_FAULT',
    is: () => true,
    what: 'cannot do what it could before',
    retryable: true,
    hint: 'see the log of PostgreSQL; the five characters are its SQLSTATE',
  },
]

/**
 * Why a statement of Tidegate's own failed: the value's fault (undefined), or an outage. Whatever is no fault of a value is one: our
 * statements were right when they were released.
 */
export function outageOfOurs(where: string, error: unknown): TidegateError | undefined {
  if (error instanceof TidegateError) return error
  if (error instanceof DatabaseError)
    return valueState.test(stateOf(error)) ? undefined : outage(where, error)
  return isConnectionFault(error) ? outage(where, error) : undefined
}

/** Why a consumer's statement failed: its fault (undefined), or an outage. What we do not know may be its own. */
export function outageOfConsumers(where: string, error: unknown): TidegateError | undefined {
  if (error instanceof DatabaseError) return isOfServer(error) ? outage(where, error) : undefined
  return isConnectionFault(error) ? outage(where, error) : undefined
}

function isOfServer(error: DatabaseError): boolean {
  const state = stateOf(error)
  if (ambiguousState.test(state)) return endsSession(error)
  return serverState.test(state)
}

function endsSession({ severity }: DatabaseError): boolean {
  return severity === 'FATAL' || severity === 'PANIC'
}

/** Something that may be there once is there already. */
export function isTaken(error: unknown): boolean {
  return stateOf(error) === '23505'
}

/** Given up because it and another waited for each other: it is done again. However it is told of. */
export function isDeadlock(error: unknown): boolean {
  const cause = error instanceof TidegateError ? error.cause : error
  return codeOf(error) === '40P01' || codeOf(cause) === '40P01'
}

/** Why there is no connection, or none that can be used. `where` is host:port/database, never a URL with a password in it. */
export function outage(where: string, cause: unknown): TidegateError {
  const state = stateOf(cause)
  const { code, what, retryable, hint } = kinds.find((kind) => kind.is(state, cause)) as Kind
  const said = state === '' ? messageOf(cause) : `${messageOf(cause)} (${state})`
  return new TidegateError(code, {
    message: `the database at ${where} ${what}: ${said}`,
    retryable,
    hint,
    cause,
  })
}

function isConnectionFault(error: unknown): boolean {
  if (!(error instanceof Error)) return false
  // Whatever the operating system says about a socket or a name: ECONNREFUSED, EMFILE, EAI_AGAIN, …
  return isTlsFault(error) || isSystemError(error) || connectionMessage.test(error.message)
}

function isSystemError(error: Error): boolean {
  if (error instanceof AggregateError)
    return error.errors.some((each) => each instanceof Error && isSystemError(each))
  return 'syscall' in error || /^(ECONN\w+|EPIPE|ETIMEDOUT)$/.test(codeOf(error))
}

function isTlsFault(error: unknown): boolean {
  return tlsCode.test(codeOf(error)) || tlsMessage.test(messageOf(error))
}

function stateOf(error: unknown): string {
  return error instanceof DatabaseError ? (error.code ?? '') : ''
}
