import { DatabaseError } from 'pg'
import { codeOf, messageOf, TidegateError } from '../../src/errors.ts'

/**
 * SQLSTATEs that say "the server cannot", not "your statement is wrong": connection exceptions, insufficient
 * resources (disk full, too many connections), operator intervention, system errors, a standby that is read-only.
 * Source: PostgreSQL 15, Appendix A.
 */
const outageState = /^(08...|53...|57P0[1-5]|58...|25006|28...|3D000)$/
const refusedState = /^(28...|3D000)$/
const socketCodes: ReadonlySet<string> = new Set([
  'ECONNREFUSED',
  'ECONNRESET',
  'EPIPE',
  'ETIMEDOUT',
  'ENOTFOUND',
  'EAI_AGAIN',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'ENOENT',
])
/** What pg throws without a code when the connection is gone. */
const connectionMessage =
  /connection (terminated|timeout|ended)|connection error|query read timeout|timeout exceeded/i

/** Whether the database, and not what was asked of it, is at fault. */
export function isDatabaseOutage(error: unknown): boolean {
  if (error instanceof DatabaseError) return outageState.test(error.code ?? '')
  return socketCodes.has(codeOf(error)) || (error instanceof Error && connectionMessage.test(error.message))
}

/** Whether the server answered, and will not have us. */
export function isDatabaseRefusal(error: unknown): boolean {
  return error instanceof DatabaseError && refusedState.test(error.code ?? '')
}

/** `where` is host:port/database, never a URL with a password in it. */
export function unreachable(where: string, cause: unknown): TidegateError {
  return new TidegateError('DATABASE_UNREACHABLE', {
    message: `the database at ${where} cannot be reached: ${messageOf(cause)}`,
    retryable: true,
    hint: 'see whether PostgreSQL runs there and database.url is right',
    cause,
  })
}

export function refused(where: string, cause: unknown): TidegateError {
  return new TidegateError('DATABASE_REFUSED', {
    message: `the database at ${where} refused us: ${messageOf(cause)}`,
    retryable: false,
    hint: 'check the user, the password and the database name in database.url',
    cause,
  })
}
