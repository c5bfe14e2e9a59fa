import { deflateSync, gzipSync } from 'node:zlib'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { batchLimits, isBatch, joinBatch, splitBatch } from '../../../src/contract/batch.ts'
import { claimedChain, decodeEvent, encodeEvent, genesis, verifyChain } from '../../../src/contract/codec.ts'
import type { Event } from '../../../src/contract/event.ts'
import { codeOf } from '../../../src/errors.ts'

const split = (body: Buffer | string, encoding?: string): string[] =>
  splitBatch(Buffer.from(body), encoding).map((text) => text.toString('utf8'))

function faultOf(body: Buffer | string, encoding?: string): string {
  try {
    split(body, encoding)
    return 'none'
  } catch (error) {
    return codeOf(error)
  }
}

const fill = 'x'.repeat(300)

/** Any object with an event's end, and long enough. */
const ended = (members: string): string => `{${members},"chain":"${'c_-4'.repeat(10)}abc"}`
const event = ended(`"id":"${fill}"`)

function read(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return 'unreadable'
  }
}

describe('a batch', () => {
  test.each([false, true])(
    'gives back the text of every event as it was, compressed or not (%s), and each follows the chain (G8)',
    (compress) => {
      fc.assert(
        fc.property(fc.array(fc.jsonValue(), { minLength: 1, maxLength: 20 }), (all) => {
          let chain = genesis('gw', 'e')
          const texts = all.map((data) => {
            const encoded = encodeEvent({ id: '"]},{[', subject: fill, data } as never, chain)
            chain = encoded.chain
            return encoded.text
          })
          const back = split(joinBatch(texts, compress), compress ? 'deflate' : undefined)
          expect(back).toEqual(texts)
          let before = genesis('gw', 'e')
          for (const text of back) {
            expect(verifyChain(text, before)).toBe(true)
            before = String(claimedChain(text))
          }
        }),
      )
    },
  )

  test('is split as JSON would be, wherever white space stands, and not a byte of an event is lost', () => {
    fc.assert(
      fc.property(fc.array(fc.dictionary(fc.string(), fc.jsonValue()), { minLength: 1 }), (objects) => {
        const texts = objects.map((object) =>
          ended(`"a": ${JSON.stringify(object, null, '\t')} ,"b":"${fill}"`),
        )
        expect(split(` \r\n[ ${texts.join(' ,\t')}\n] `)).toEqual(texts)
      }),
    )
  })

  test('what is cut or altered anywhere is refused, or has texts that no reader takes (G5)', () => {
    const whole = `[${ended(`"a":"x\\"y","b":"${fill}"`)},${ended(`"b":[1,{"c":"]"}],"c":"${fill}"`)}]`
    for (let at = 0; at < whole.length; at++) expect(faultOf(whole.slice(0, at))).toBe('BATCH_UNREADABLE')
    fc.assert(
      fc.property(
        fc.nat(whole.length - 1),
        fc.constantFrom('[', ']', '{', '}', ',', '"', '\\', 'x', ' '),
        (at, character) => {
          const altered = whole.slice(0, at) + character + whole.slice(at + 1)
          let texts: string[]
          try {
            texts = split(altered)
          } catch {
            return
          }
          // As one value they are what a JSON reader makes of the whole, or neither of the two can be read.
          const each = texts.map(read)
          expect(each.includes('unreadable') ? 'unreadable' : each).toEqual(read(altered))
        },
      ),
      { numRuns: 2000 },
    )
  })

  test.each([
    ['nothing', ''],
    ['an empty array', '[]'],
    ['one event alone', '{"id":"e"}'],
    ['an array of numbers', '[1,2]'],
    ['a comma too many', `[${event},]`],
    ['no comma', `[${event}${event}]`],
    ['something behind it', `[${event}]x`],
    ['two arrays', `[${event}][${event}]`],
    ['of objects', '[{},{}]'],
    ['of one event and an object', `[${event},{"id":"${fill}"}]`],
    ['of an event and one whose chain is not the last', `[${event},${event.slice(0, -1)},"id":"e"}]`],
    ['of an event and one with too short a chain', `[${event},${event.replace('abc"}', 'ab"}')}]`],
    ['of an event and one with no such chain', `[${event},${event.replace('abc"}', 'ab+"}')}]`],
    ['of objects that are shorter than any event', `[${ended('"id":"e"')}]`],
    ['an object that a bracket closes', '[{]'],
    ['a string without an end', '[{"a'],
    ['a backslash at the end', '[{"a\\'],
    ['brackets without an end', '[{"a":'.repeat(200_000)],
    ['more events than a batch may hold', `[${`${event},`.repeat(batchLimits.events)}${event}]`],
    ['more bytes than a batch may have', `[${ended(`"a":"${'x'.repeat(batchLimits.bytes)}"`)}]`],
  ])('is refused that is %s (G5)', (_, body) => {
    expect(faultOf(body)).toBe('BATCH_UNREADABLE')
  })

  test.each<[string, Buffer, string]>([
    ['not compressed at all', Buffer.from(`[${event}]`), 'deflate'],
    ['cut', deflateSync(`[${event}]`).subarray(0, -1), 'deflate'],
    ['followed by other bytes', Buffer.concat([deflateSync(`[${event}]`), Buffer.from('x')]), 'deflate'],
    ['compressed otherwise', gzipSync(`[${event}]`), 'gzip'],
    ['compressed otherwise than it says', gzipSync(`[${event}]`), 'deflate'],
    ['a bomb', deflateSync(`[${ended(`"a":"${'x'.repeat(20 * batchLimits.bytes)}"`)}]`), 'deflate'],
    ['59 bytes of thousands of objects', deflateSync(`[${'{},'.repeat(9_999)}{}]`), 'deflate'],
  ])('is refused that is %s (G5, G7)', (_, body, encoding) => {
    expect(faultOf(body, encoding)).toBe('BATCH_UNREADABLE')
  })

  test('holds the shortest event that a reader takes (G5)', () => {
    const shortest: Omit<Event, 'chain'> = {
      specversion: '1.0',
      id: 'x',
      source: '/devices/x',
      type: 'a.b',
      time: '2026-01-01T00:00:00Z',
      recordedtime: '2026-01-01T00:00:00Z',
      datacontenttype: 'application/json',
      partitionkey: 'x',
      gateway: 'x',
      epoch: '01JGFJJZ00TESTTESTTESTTEST',
      sequence: 1,
      data: 0,
    }
    const { text } = encodeEvent(shortest, genesis('x', shortest.epoch))
    expect(decodeEvent(text)).toMatchObject(shortest)
    expect(split(`[${text}]`)).toEqual([text])
  })

  test('is known by its content type, whatever its case and parameters', () => {
    const batch = 'application/cloudevents-batch+json'
    expect([batch, 'Application/CloudEvents-Batch+JSON', `${batch} ; charset=UTF-8`].map(isBatch)).toEqual([
      true,
      true,
      true,
    ])
    const others = ['application/cloudevents+json', `x${batch}`, '', undefined]
    expect(others.map(isBatch)).toEqual([false, false, false, false])
  })
})
