import { encode } from '@msgpack/msgpack'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { Decoded } from '../../../edge/admission/codecs/decode.ts'
import { messagePackDecoder } from '../../../edge/admission/codecs/messagepack.ts'

const decode = messagePackDecoder({ textBytesMax: 100_000 })
const read = (hex: string): Decoded => decode(Buffer.from(hex, 'hex'))

/** By the tables of github.com/msgpack/msgpack/blob/master/spec.md; the first is the example of msgpack.org. */
const examples: readonly [what: string, hex: string, value: unknown][] = [
  ['the example', '82a7636f6d70616374c3a6736368656d6100', { compact: true, schema: 0 }],
  ['nil', 'c0', null],
  ['false', 'c2', false],
  ['true', 'c3', true],
  ['positive fixint', '7f', 127],
  ['negative fixint', 'e0', -32],
  ['uint 8', 'ccff', 255],
  ['uint 16', 'cdffff', 65_535],
  ['uint 32', 'ceffffffff', 4_294_967_295],
  ['uint 64 that a double holds', 'cf001fffffffffffff', 9_007_199_254_740_991],
  ['uint 64', 'cfffffffffffffffff', '18446744073709551615'],
  ['int 8', 'd080', -128],
  ['int 16', 'd18000', -32_768],
  ['int 32', 'd280000000', -2_147_483_648],
  ['int 64', 'd38000000000000000', '-9223372036854775808'],
  ['float 32', 'ca3fc00000', 1.5],
  ['float 64', 'cb3ff199999999999a', 1.1],
  ['float 64 that is none', 'cb7ff8000000000000', 'NaN'],
  ['fixstr', 'a3616263', 'abc'],
  ['str 8', 'd903616263', 'abc'],
  ['str 16', 'da0003616263', 'abc'],
  ['str 32', 'db00000003616263', 'abc'],
  ['bin 8', 'c4020102', 'AQI='],
  ['bin 16', 'c500020102', 'AQI='],
  ['bin 32', 'c6000000020102', 'AQI='],
  ['fixarray', '920102', [1, 2]],
  ['array 16', 'dc00020102', [1, 2]],
  ['array 32', 'dd000000020102', [1, 2]],
  ['fixmap', '81a16101', { a: 1 }],
  ['map 16', 'de0001a16101', { a: 1 }],
  ['map 32', 'df00000001a16101', { a: 1 }],
  ['a map with whole numbers as keys', '820102ff03', { '1': 2, '-1': 3 }],
  ['timestamp 32', 'd6ff00000001', '1970-01-01T00:00:01Z'],
  ['timestamp 64', 'd7ff7735940000000001', '1970-01-01T00:00:01.500Z'],
  ['timestamp 96', 'c70cff00000001ffffffffffffffff', '1969-12-31T23:59:59.000000001Z'],
  ['timestamp 96 of no year', 'c70cff000000007fffffffffffffff', '9223372036854775807'],
  ['timestamp 96 of no year, with its fraction', 'c70cff1dcd65007fffffffffffffff', '9223372036854775807.500'],
  ['timestamp 96 before all years', 'c70cff1dcd65008000000000000000', '-9223372036854775807.500'],
]

describe('MessagePack', () => {
  test.each(examples)('%s: %s', (_what, hex, value) => {
    expect(read(hex)).toEqual({ ok: true, format: 'messagepack', value, skippedBytes: 0 })
  })

  test.each([
    ['', 'MALFORMED_PAYLOAD'],
    ['c1', 'MALFORMED_PAYLOAD'],
    ['0000', 'MALFORMED_PAYLOAD'],
    ['d5050102', 'MALFORMED_PAYLOAD'],
    ['d5ff0102', 'MALFORMED_PAYLOAD'],
    // A timestamp of 10^9 nanoseconds: in 8 bytes, in 12, and of no year.
    ['d7ffee6b280000000001', 'MALFORMED_PAYLOAD'],
    ['c70cff3b9aca000000000000000001', 'MALFORMED_PAYLOAD'],
    ['c70cff3b9aca007fffffffffffffff', 'MALFORMED_PAYLOAD'],
    ['81c40161f6', 'MALFORMED_PAYLOAD'],
    ['81c0f6', 'MALFORMED_PAYLOAD'],
    ['81d6ff0000000101', 'MALFORMED_PAYLOAD'],
    ['82a16101a16102', 'MALFORMED_PAYLOAD'],
    ['81', 'MALFORMED_PAYLOAD'],
    ['ddffffffff', 'MALFORMED_PAYLOAD'],
    ['a1ff', 'NOT_UTF8'],
    ['a100', 'UNSTORABLE_TEXT'],
    ['91'.repeat(33), 'TOO_DEEP'],
    [`dc2711${'90'.repeat(10_001)}`, 'TOO_MANY_VALUES'],
    [`dcffff${'c0'.repeat(65_535)}`, 'PAYLOAD_TOO_LARGE'],
  ])('%s is refused as %s', (hex, reason) => {
    expect(read(hex)).toMatchObject({ ok: false, fault: { reason } })
  })

  test('what another library writes is what it was, whatever JSON it is', () => {
    fc.assert(
      fc.property(fc.jsonValue({ maxDepth: 5 }), (value) => {
        const text = JSON.stringify(value)
        // That library refuses the key, as it would change a prototype.
        fc.pre(!text.includes('\\u0000') && !text.includes('__proto__'))
        expect(decode(Buffer.from(encode(value)))).toMatchObject({
          ok: true,
          value: JSON.parse(text) as unknown,
        })
      }),
    )
  })
})
