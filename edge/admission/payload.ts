import { isAscii, isUtf8 } from 'node:buffer'
import { messageOf } from '../../src/errors.ts'
import { containersMax, depthMax } from './codecs/decode.ts'
import type { Fault } from './quarantine.ts'

export type Parsed = { ok: true; value: unknown } | { ok: false; fault: Fault }

/**
 * Reads a payload as JSON that every store behind us can keep as it is (RFC 8259; PostgreSQL's json takes
 * neither \u0000 nor half surrogate pairs, and a number like 1e999 has no value at all). What programs put around good
 * JSON is passed over: a byte order mark in front (RFC 8259, 8.1) and the NULs that end a C string.
 */
export function parsePayload(payload: Buffer): Parsed {
  const bytes = unframed(payload)
  if (bytes.length === 0)
    return refuse('MALFORMED_JSON', payload.length === 0 ? 'the payload is empty' : 'the payload has no text')
  if (!isUtf8(bytes)) return refuse('NOT_UTF8', 'the payload is not UTF-8 text')
  const shape = bytes.length > shapeBytesMin ? faultOfShape(bytes) : undefined
  if (shape) return { ok: false, fault: shape }
  const text = isAscii(bytes) ? bytes.toString('latin1') : bytes.toString('utf8')
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch (error) {
    return refuse('MALFORMED_JSON', unquoted(messageOf(error)))
  }
  // Both kinds of unstorable character can only come from an escape.
  const fault = new Inspection(text.includes('\\u')).faultOf(value, 1)
  return fault ? { ok: false, fault } : { ok: true, value }
}

const tooDeep: Fault = {
  reason: 'TOO_DEEP',
  detail: `values are nested more than ${depthMax} levels deep`,
}
const tooMany: Fault = {
  reason: 'TOO_MANY_VALUES',
  detail: `there are more than ${containersMax} objects and arrays`,
}

/** What is shorter is parsed in no time, whatever it is. */
const shapeBytesMin = 8192

const quote = 0x22
const backslash = 0x5c
const opening = new Set([0x5b, 0x7b])
const closing = new Set([0x5d, 0x7d])

/**
 * What would be refused for its shape, before it is parsed: a hundred thousand arrays within one another take twelve milliseconds
 * and as much memory as ever, and this some tenths of one (G7). Whether it is JSON at all is not looked at.
 */
function faultOfShape(bytes: Buffer): Fault | undefined {
  let depth = 0
  let containers = 0
  let isText = false
  for (let at = 0; at < bytes.length; at += 1) {
    const byte = bytes[at] as number
    if (byte === quote) isText = !isText
    else if (isText) at += byte === backslash ? 1 : 0
    else if (opening.has(byte)) {
      depth += 1
      containers += 1
      if (depth > depthMax) return tooDeep
      if (containers > containersMax) return tooMany
    } else if (closing.has(byte)) depth -= 1
  }
  return undefined
}

const byteOrderMark = Buffer.from([0xef, 0xbb, 0xbf])

function unframed(payload: Buffer): Buffer {
  const start = payload.subarray(0, 3).equals(byteOrderMark) ? 3 : 0
  let end = payload.length
  while (end > start && payload[end - 1] === 0) end -= 1
  return payload.subarray(start, end)
}

/** V8 quotes a part of the payload, which is not for logs; what it found there it says before. */
function unquoted(message: string): string {
  return message.replace(/^(Unexpected token '[^]{1,2}'), [^]*$/, '$1')
}

function refuse(reason: Fault['reason'], detail: string): Parsed {
  return { ok: false, fault: { reason, detail } }
}

/** Looks through one payload's value. */
class Inspection {
  readonly #escaped: boolean
  #containers = 0

  constructor(escaped: boolean) {
    this.#escaped = escaped
  }

  faultOf(value: unknown, depth: number): Fault | undefined {
    if (typeof value === 'number') {
      if (Number.isFinite(value)) return undefined
      return { reason: 'NUMBER_OUT_OF_RANGE', detail: 'a number is too large for a double' }
    }
    if (typeof value === 'string') return this.#escaped && !isStorable(value) ? unstorable : undefined
    if (typeof value !== 'object' || value === null) return undefined
    if (depth > depthMax) return tooDeep
    this.#containers += 1
    if (this.#containers > containersMax) return tooMany
    return this.#faultWithin(value, depth + 1)
  }

  #faultWithin(value: object, depth: number): Fault | undefined {
    if (Array.isArray(value)) {
      for (const member of value) {
        const fault = this.faultOf(member, depth)
        if (fault) return fault
      }
      return undefined
    }
    for (const key in value) {
      if (this.#escaped && !isStorable(key)) return unstorable
      const fault = this.faultOf((value as Record<string, unknown>)[key], depth)
      if (fault) return fault
    }
    return undefined
  }
}

export const unstorable: Fault = {
  reason: 'UNSTORABLE_TEXT',
  detail: 'a text or the topic holds U+0000 or half of a surrogate pair',
}

/** Whether every store behind us can keep this text. */
export function isStorable(text: string): boolean {
  return !text.includes('\u0000') && text.isWellFormed()
}
