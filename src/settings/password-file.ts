import { readFileSync } from 'node:fs'
import { codeOf, messageOf, TidegateError } from '../errors.ts'

/**
 * A URL with the password that a file holds, as it is now; one line end at its end is none of it. Without a file, the URL as it is.
 * @throws TidegateError `PASSWORD_FILE_UNREADABLE`
 */
export function withPassword(url: string, file: string | undefined): string {
  if (file === undefined) return url
  const full = new URL(url)
  full.password = encodeURIComponent(passwordIn(file))
  return full.href
}

function passwordIn(file: string): string {
  let password: string
  try {
    password = readFileSync(file, 'utf8').replace(/\r?\n$/, '')
  } catch (cause) {
    throw unreadable(
      `the password file ${file} cannot be read: ${messageOf(cause)} (${codeOf(cause)})`,
      cause,
    )
  }
  if (password === '') throw unreadable(`the password file ${file} is empty`)
  return password
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
