import { codeOf, messageOf, TidegateError } from '../../../src/errors.ts'

/** What a reader gets of a file that is missing, cut short or on a bad sector (libc's words for errno). */
const unreadable =
  /(?:\.ldb|\.sst|\.log|CURRENT|MANIFEST-\d+): (?:No such file|Invalid argument|No such device|Is a directory|Input\/output)/i

/** Whether an error of classic-level's says that the files are damaged. */
export function isDamage(error: unknown): boolean {
  return codeOf(error) === 'LEVEL_CORRUPTION' || unreadable.test(messageOf(error))
}

/** Says of an error of classic-level which of ours it is. */
export function failure(location: string, error: unknown): TidegateError {
  const cause = error instanceof Error && error.cause !== undefined ? error.cause : error
  if (codeOf(cause) === 'LEVEL_LOCKED') return locked(location, cause)
  if (isDiskFull(cause)) return unavailable(location, cause)
  if (isDamage(cause)) return corrupt(location, messageOf(cause), cause)
  return unavailable(location, cause)
}

function locked(location: string, cause: unknown): TidegateError {
  return new TidegateError('OUTBOX_LOCKED', {
    message: `another process has the outbox ${location} open`,
    retryable: false,
    hint: 'stop the other gateway, or give this one its own dataDir',
    cause,
  })
}

export function corrupt(location: string, detail: string, cause?: unknown): TidegateError {
  return new TidegateError('STORE_CORRUPT', {
    message: `the outbox ${location} is damaged: ${detail}`,
    retryable: false,
    hint: 'it is repaired at start; what cannot be repaired is set aside and counted',
    cause,
  })
}

export function unavailable(location: string, cause: unknown): TidegateError {
  return new TidegateError('STORE_UNAVAILABLE', {
    message: `the outbox ${location} cannot be used: ${messageOf(cause)}`,
    retryable: true,
    hint: 'check the free space and the health of the disk; the gateway goes on by itself when it can write',
    cause,
  })
}

export function isDiskFull(error: unknown): boolean {
  const code = error instanceof Error && 'code' in error ? error.code : undefined
  return code === 'ENOSPC' || code === 'EDQUOT' || /no space left|quota exceeded/i.test(messageOf(error))
}

/** Something outside the files stands in the way: it may go away, and says nothing about the files. */
export function isInTheWay(error: unknown): boolean {
  const text = messageOf(error)
  return (
    isDiskFull(error) || /permission denied|not permitted|too many open|cannot allocate|read-only/i.test(text)
  )
}
