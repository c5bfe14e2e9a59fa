/**
 * Every failure Tidegate reports on purpose. A code is stable: it is written into logs, metrics, dead-letter
 * headers and docs/ERRORS.md (a test ties the two). Retryability belongs to the error, never to its catcher.
 */
export interface ErrorOptions {
  /** One sentence: what happened, and where. */
  message: string
  /** Whether the same call may succeed later without anybody changing anything. */
  retryable: boolean
  /** One sentence: what to do about it. */
  hint: string
  cause?: unknown
}

export class TidegateError extends Error {
  override readonly name = 'TidegateError'
  readonly code: string
  readonly retryable: boolean
  readonly hint: string

  constructor(code: string, options: ErrorOptions) {
    super(options.message, options.cause === undefined ? undefined : { cause: options.cause })
    this.code = code
    this.retryable = options.retryable
    this.hint = options.hint
  }
}

/** The message of anything thrown. Never throws. */
export function messageOf(error: unknown): string {
  if (error instanceof AggregateError && error.message === '') return error.errors.map(messageOf).join('; ')
  return textOf(error instanceof Error ? error.message : error)
}

/** Handlers throw what they like: a message need not be a string, and not everything can be made one. */
function textOf(value: unknown): string {
  try {
    return String(value)
  } catch {
    return 'something without a text was thrown'
  }
}

/** Of those of Tidegate, Node, OpenSSL, the broker and consumers; and PostgreSQL's SQLSTATE. */
const codeForm = /^(?:[A-Z][A-Z0-9_]{0,63}|[0-9A-Z]{5})$/

/**
 * The stable code of anything thrown: ours, Node's (`ECONNREFUSED`), a driver's, else `UNEXPECTED`. Handlers throw what they like, and may
 * make a code of what a device sent: what has not the form of one is none, for codes are shown to who may not see payloads. Never throws.
 */
export function codeOf(error: unknown): string {
  try {
    return error instanceof Error && 'code' in error ? codeIn(error.code) : 'UNEXPECTED'
  } catch {
    return 'UNEXPECTED'
  }
}

/** What stands where a code is to be, if it has the form of one, else `UNEXPECTED`. */
export function codeIn(said: unknown): string {
  return typeof said === 'string' && codeForm.test(said) ? said : 'UNEXPECTED'
}

/** One screen for a person: what happened, why, what to do. Never a stack trace. */
export function explain(error: unknown): string {
  const lines = [`tidegate: ${messageOf(error)}`]
  if (error instanceof TidegateError) {
    // A cause need not be something that was thrown.
    if (error.cause instanceof Error && !error.message.includes(messageOf(error.cause)))
      lines.push(`  cause: ${messageOf(error.cause)}`)
    lines.push(`  hint:  ${error.hint}`, `  code:  ${error.code}`)
  } else {
    lines.push(`  code:  ${codeOf(error)}`)
  }
  return lines.join('\n')
}

/** Thrown by waits that were aborted; never reported. */
export function isAbort(error: unknown): boolean {
  return error instanceof Error && error.name === 'AbortError'
}
