import { isAscii, isUtf8 } from 'node:buffer'
import { messageOf } from '../../src/errors.ts'
import type { Fault } from './quarantine.ts'

/** Deeper values are refused: serialisers recurse, and no reading needs it. */
export const depthMax = 32

export type Parsed = { ok: true; value: unknown } | { ok: false; fault: Fault }

/**
 * Reads a payload as JSON that every store behind us can keep as it is (RFC 8259; PostgreSQL's json takes
 * neither \u0000 nor half surrogate pairs, and a number like 1e999 has no value at all).
 */
export function parsePayload(payload: Buffer): Parsed {
  if (payload.length === 0) return refuse('MALFORMED_JSON', 'the payload is empty')
  if (!isUtf8(payload)) return refuse('NOT_UTF8', 'the payload is not UTF-8 text')
  const text = isAscii(payload) ? payload.toString('latin1') : payload.toString('utf8')
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch (error) {
    return refuse('MALFORMED_JSON', messageOf(error))
  }
  // Both kinds of unstorable character can only come from an escape.
  const fault = findFault(value, text.includes('\\u'), 1)
  return fault ? { ok: false, fault } : { ok: true, value }
}

function refuse(reason: Fault['reason'], detail: string): Parsed {
  return { ok: false, fault: { reason, detail } }
}

function findFault(value: unknown, escaped: boolean, depth: number): Fault | undefined {
  if (typeof value === 'number') {
    if (Number.isFinite(value)) return undefined
    return { reason: 'NUMBER_OUT_OF_RANGE', detail: 'a number is too large for a double' }
  }
  if (typeof value === 'string') return escaped && !isStorable(value) ? unstorable : undefined
  if (typeof value !== 'object' || value === null) return undefined
  if (depth > depthMax)
    return { reason: 'TOO_DEEP', detail: `values are nested more than ${depthMax} levels deep` }
  if (Array.isArray(value)) {
    for (const member of value) {
      const fault = findFault(member, escaped, depth + 1)
      if (fault) return fault
    }
    return undefined
  }
  for (const key in value) {
    if (escaped && !isStorable(key)) return unstorable
    const fault = findFault((value as Record<string, unknown>)[key], escaped, depth + 1)
    if (fault) return fault
  }
  return undefined
}

export const unstorable: Fault = {
  reason: 'UNSTORABLE_TEXT',
  detail: 'a text or the topic holds \\u0000 or half of a surrogate pair',
}

/** Whether every store behind us can keep this text. */
export function isStorable(text: string): boolean {
  return !text.includes('\u0000') && text.isWellFormed()
}
