import { codeOf, messageOf, TidegateError } from '../../src/errors.ts'
import { awaitsSchema, isAwaitedCode, isOutage } from '../pipeline/retry.ts'
import type { ProjectedEvent } from './definition.ts'
import type { Poison, VersionKey } from './versions.ts'

/** A rival's lock, or somebody who ended a statement (PostgreSQL 15, Appendix A: 40, 55P03, 57014): the same may succeed. */
const rivalState = /^(40...|55P03|57014)$/
const messageLengthMax = 1000

/** Whether the same events may be applied later without anybody changing anything. */
export function isTemporary(error: unknown): boolean {
  // What a statement did that nobody awaited is no better the next time.
  if (codeOf(error) === 'TRANSACTION_SPOILT') return false
  // It goes on by itself when the version is there.
  if (awaitsSchema(error)) return false
  if (isOutage(error) || rivalState.test(codeOf(error))) return true
  return error instanceof Error && 'retryable' in error && error.retryable === true
}

/** The same as a fault of the runner. */
export function asFault(error: unknown): TidegateError {
  if (error instanceof TidegateError) return error
  return new TidegateError('PROJECTION_FAILED', {
    message: messageOf(error),
    retryable: true,
    hint: 'it is tried again by itself; the log of this instance says more',
    cause: error,
  })
}

export function poisonOf(error: unknown, { cursor, source, id, type }: ProjectedEvent): Poison {
  // PostgreSQL has no U+0000, and handlers throw what they like.
  const message = messageOf(error).replaceAll('\0', '').toWellFormed().slice(0, messageLengthMax)
  return { cursor, source, id, type, code: codeOf(error), message }
}

/** It has stopped for want of a schema, and not at a fault: whoever has other schemas tries once whether it is there now. */
export function isAwaiting({ code }: Poison): boolean {
  return isAwaitedCode(code)
}

export function haltedAt({ name, version }: VersionKey, poison: Poison): TidegateError {
  const { source, id, code } = poison
  return new TidegateError('PROJECTION_HALTED', {
    message: `projection ${name} ${version} cannot apply the event ${id} of ${source}: ${code}`,
    retryable: false,
    hint: isAwaiting(poison)
      ? 'bring the schema there (schemas.folder, tidegate schema apply), and it goes on by itself; or leave the event out: tidegate projections resume NAME VERSION --skip ID'
      : 'mend the module and give it another version, or have it go on: tidegate projections resume NAME VERSION [--skip ID]',
  })
}
