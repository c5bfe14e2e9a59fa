import { readFileSync } from 'node:fs'
import { codeOf, messageOf, TidegateError } from '../errors.ts'

/**
 * A URL with the password that a file holds, in UTF-8 and as it is now, in place of any other; one line end at its end is none of it.
 * Without a file, the URL as it is.
 * @throws TidegateError `PASSWORD_FILE_UNREADABLE`; `CONFIG_INVALID` when the URL has no place for a password
 */
export function withPassword(url: string, file: string | undefined): string {
  if (file === undefined) return url
  const full = new URL(url)
  full.password = encodeURIComponent(passwordIn(file))
  if (full.password === '') throw placeless(file)
  // The driver of PostgreSQL would take this one first.
  if (full.searchParams.has('password')) full.searchParams.delete('password')
  return full.href
}

function passwordIn(file: string): string {
  let password: string
  try {
    password = new TextDecoder('utf-8', { fatal: true }).decode(readFileSync(file)).replace(/\r?\n$/, '')
  } catch (cause) {
    throw unreadable(
      `the password file ${file} cannot be read: ${messageOf(cause)} (${codeOf(cause)})`,
      cause,
    )
  }
  if (password === '') throw unreadable(`the password file ${file} is empty`)
  return password
}

function placeless(file: string): TidegateError {
  return new TidegateError('CONFIG_INVALID', {
    message: `the password of ${file} has no place in a URL that names no host`,
    retryable: false,
    hint: 'write the folder of a socket as the host: postgres://user@%2Fvar%2Frun%2Fpostgresql/database',
  })
}

function unreadable(message: string, cause?: unknown): TidegateError {
  return new TidegateError('PASSWORD_FILE_UNREADABLE', {
    message,
    retryable: true,
    hint: 'it must be there and be readable by the user that Tidegate runs as; with LoadCredential= it is in $CREDENTIALS_DIRECTORY',
    cause,
  })
}

/** The URL as a connection that is made now needs it. A file that cannot be read any more leaves the password as it was. */
export function freshUrl(url: string, file: string | undefined): () => string {
  let newest = withPassword(url, file)
  return () => {
    try {
      newest = withPassword(url, file)
    } catch {
      // Whoever connects is told by the server, if it was changed there.
    }
    return newest
  }
}
