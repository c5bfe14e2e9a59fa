import { deflateSync, inflateSync } from 'node:zlib'
import { messageOf, TidegateError } from '../errors.ts'
import { endsAsEvent } from './codec.ts'
import { wire } from './wire.ts'

/**
 * Events that go as one message: the JSON Batch Format of CloudEvents (`application/cloudevents-batch+json`), an array of
 * their texts, verbatim, so that each can still be verified when it stands alone again (G8).
 */
export const batchLimits = {
  events: 10_000,
  /** Of the array, as it is when it is not compressed. */
  bytes: 8 * 1024 * 1024,
} as const

/** The bytes of a batch, compressed for speed if at all. */
export function joinBatch(texts: readonly string[], compress: boolean): Buffer {
  const bytes = Buffer.from(`[${texts.join(',')}]`)
  return compress ? deflateSync(bytes, { level: 1 }) : bytes
}

/** Whether a content type says that this is a batch. */
export function isBatch(contentType: string | undefined): boolean {
  return contentType === wire.batchContentType || plain(contentType) === wire.batchContentType
}

/** Without parameters, such as `; charset=UTF-8`. */
function plain(contentType: string | undefined): string | undefined {
  return contentType?.replace(/\s*;.*$/s, '').toLowerCase()
}

/**
 * The texts of a batch's events, verbatim. That it is an array of things in braces that end as events do is made certain here, and what is
 * in the braces is for whoever reads the event: so every text that can be read is one of the array, and the array is nothing else. A few
 * bytes that inflate to thousands of things that are no events are one fault, not thousands (G5).
 * @throws TidegateError `BATCH_UNREADABLE` (not retryable)
 */
export function splitBatch(body: Buffer, contentEncoding: string | undefined): Buffer[] {
  return textsIn(inflated(body, contentEncoding))
}

function inflated(body: Buffer, contentEncoding: string | undefined): Buffer {
  if (contentEncoding === undefined || contentEncoding === '') {
    if (body.length > batchLimits.bytes) throw unreadable(`it is longer than ${batchLimits.bytes} bytes`)
    return body
  }
  if (contentEncoding !== wire.deflate) throw unreadable(`its content encoding is ${contentEncoding}`)
  try {
    // With `info` it is said how much was read: what stands behind the end of the stream is not passed over.
    const options = { maxOutputLength: batchLimits.bytes, info: true }
    const { buffer, engine } = inflateSync(body, options) as unknown as Inflated
    if (engine.bytesWritten === body.length) return buffer
  } catch (error) {
    throw unreadable(`it cannot be inflated to at most ${batchLimits.bytes} bytes: ${messageOf(error)}`)
  }
  throw unreadable('there are bytes behind what was compressed')
}

interface Inflated {
  buffer: Buffer
  engine: { bytesWritten: number }
}

const quote = 0x22
const comma = 0x2c
const backslash = 0x5c
const openBracket = 0x5b
const closeBracket = 0x5d
const openBrace = 0x7b
const closeBrace = 0x7d

/** By counting brackets, without calling itself, whatever the nesting. */
function textsIn(bytes: Buffer): Buffer[] {
  const texts: Buffer[] = []
  let at = afterSpace(bytes, 0)
  if (bytes[at] !== openBracket) throw unreadable('it is no array')
  do {
    const start = afterSpace(bytes, at + 1)
    if (bytes[start] !== openBrace) throw unreadable(`no object begins at byte ${start}`)
    const end = endOfObject(bytes, start)
    if (texts.length === batchLimits.events)
      throw unreadable(`it holds more than ${batchLimits.events} events`)
    const text = bytes.subarray(start, end)
    if (!endsAsEvent(text)) throw unreadable(`the object at byte ${start} does not end as an event does`)
    texts.push(text)
    at = afterSpace(bytes, end)
  } while (bytes[at] === comma)
  if (bytes[at] !== closeBracket) throw unreadable(`the array does not end at byte ${at}`)
  if (afterSpace(bytes, at + 1) < bytes.length) throw unreadable('there is something behind the array')
  return texts
}

/** Behind the brace that closes the one at `start`. */
function endOfObject(bytes: Buffer, start: number): number {
  let depth = 0
  for (let at = start; at < bytes.length; at++) {
    const byte = bytes[at]
    if (byte === quote) at = endOfString(bytes, at)
    else if (byte === openBrace || byte === openBracket) depth++
    else if (byte === closeBrace || byte === closeBracket) {
      if (--depth > 0) continue
      if (byte === closeBrace) return at + 1
      break
    }
  }
  throw unreadable(`the object at byte ${start} does not end`)
}

/** Where the quote stands that closes the one at `start`; behind everything if none does. */
function endOfString(bytes: Buffer, start: number): number {
  let at = start + 1
  while (at < bytes.length && bytes[at] !== quote) at += bytes[at] === backslash ? 2 : 1
  return at
}

/** The four that JSON calls white space. */
function afterSpace(bytes: Buffer, from: number): number {
  let at = from
  while (bytes[at] === 0x20 || bytes[at] === 0x0a || bytes[at] === 0x0d || bytes[at] === 0x09) at++
  return at
}

function unreadable(why: string): TidegateError {
  return new TidegateError('BATCH_UNREADABLE', {
    message: `the message is no batch of events: ${why}`,
    retryable: false,
    hint: 'see who publishes it, and docs/WIRE.md for what a batch is',
  })
}
