import type { ConnectionOptions } from 'node:tls'
import { Client } from 'pg'
import { messageOf, TidegateError } from '../../src/errors.ts'

/** Those that the driver knows; any other it takes for none, and speaks in clear. */
const sslModes = ['disable', 'prefer', 'require', 'verify-ca', 'verify-full', 'no-verify']
/** Of `ssl`; any other is neither TLS nor none to the driver, which finds out when it connects. */
const sslValues = ['true', '1', '0', 'no-verify']
const form = 'postgres://user:password@host:5432/database?sslmode=verify-full&sslrootcert=/path/ca.crt'

/** host:port/database, fit for logs. @throws TidegateError `CONFIG_INVALID` */
export function describe(text: string): string {
  try {
    const url = new URL(text)
    return `${url.hostname}:${url.port || '5432'}${url.pathname}`
  } catch (cause) {
    throw invalid('is not a URL', cause)
  }
}

/**
 * Looks at what the driver would find out when it connects, or never: how it is to speak TLS, and the files for that.
 * @throws TidegateError `CONFIG_INVALID`
 */
export function refuseFaultyUrl(text: string): void {
  const { searchParams } = new URL(text)
  const mode = searchParams.get('sslmode')
  if (mode !== null && !sslModes.includes(mode))
    throw invalid(`says sslmode=${mode}, and there are ${sslModes.join(', ')}`)
  const ssl = searchParams.get('ssl')
  if (ssl !== null && !sslValues.includes(ssl))
    throw invalid(`says ssl=${ssl}, and there are ${sslValues.join(', ')}; better use sslmode`)
  const file = ['sslrootcert', 'sslcert', 'sslkey'].find((name) => searchParams.has(name))
  if (file !== undefined && mode === 'disable') throw invalid(`says ${file}, and sslmode=disable`)
  try {
    void new Client({ connectionString: text })
  } catch (cause) {
    throw invalid(`cannot be used: ${messageOf(cause)}`, cause)
  }
}

/**
 * Where the driver finds the server, and what TLS does for it, by all that a URL may say (`?host=`, `?ssl=`, `%2Fvar%2Frun`, …) and
 * `PGSSLMODE` where that says nothing. A host that is a folder is a socket of this machine.
 */
export function dialledBy(text: string): { host: string; tls: 'verified' | 'unverified' | 'none' } {
  const { host, ssl } = new Client({ connectionString: text }) as {
    host: string
    ssl: boolean | ConnectionOptions
  }
  if (ssl === false) return { host, tls: 'none' }
  // With `uselibpqcompat` the driver leaves one or both out, as libpq does.
  const proves = ssl === true || (ssl.rejectUnauthorized !== false && ssl.checkServerIdentity === undefined)
  return { host, tls: proves ? 'verified' : 'unverified' }
}

function invalid(how: string, cause?: unknown): TidegateError {
  return new TidegateError('CONFIG_INVALID', {
    message: `database.url ${how}`,
    retryable: false,
    hint: form,
    cause,
  })
}
