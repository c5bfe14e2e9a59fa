import { encode } from 'cborg'
import fc from 'fast-check'
import { describe, expect, test, vi } from 'vitest'
import { cborDecoder } from '../../../edge/admission/codecs/cbor.ts'
import type { Decoded } from '../../../edge/admission/codecs/decode.ts'

const bounds = { textBytesMax: 100_000 }
const decode = cborDecoder(bounds)
const read = (hex: string): Decoded => decode(Buffer.from(hex, 'hex'))
const valueOf = (hex: string): unknown => {
  const decoded = read(hex)
  if (!decoded.ok) throw new Error(decoded.fault.detail)
  return decoded.value
}
const faultOf = (hex: string): string => {
  const decoded = read(hex)
  return decoded.ok ? 'none' : `${decoded.fault.reason} ${decoded.fault.detail}`
}

/** RFC 8949, appendix A. */
const examples: readonly [hex: string, value: unknown][] = [
  ['00', 0],
  ['17', 23],
  ['1818', 24],
  ['1903e8', 1000],
  ['1a000f4240', 1_000_000],
  ['1b000000e8d4a51000', 1_000_000_000_000],
  ['1bffffffffffffffff', '18446744073709551615'],
  ['c249010000000000000000', '18446744073709551616'],
  ['3bffffffffffffffff', '-18446744073709551616'],
  ['c349010000000000000000', '-18446744073709551617'],
  ['20', -1],
  ['3903e7', -1000],
  ['f93c00', 1],
  ['fb3ff199999999999a', 1.1],
  ['f97bff', 65504],
  ['fa47c35000', 100_000],
  ['fa7f7fffff', 3.4028234663852886e38],
  ['fb7e37e43c8800759c', 1e300],
  ['f90001', 5.960464477539063e-8],
  ['f90400', 0.00006103515625],
  ['f9c400', -4],
  ['fbc010666666666666', -4.1],
  ['f97c00', 'Infinity'],
  ['f97e00', 'NaN'],
  ['f9fc00', '-Infinity'],
  ['fa7fc00000', 'NaN'],
  ['fbfff0000000000000', '-Infinity'],
  ['f4', false],
  ['f5', true],
  ['f6', null],
  ['f7', null],
  ['c074323031332d30332d32315432303a30343a30305a', '2013-03-21T20:04:00Z'],
  ['c11a514b67b0', '2013-03-21T20:04:00Z'],
  ['c1fb41d452d9ec200000', '2013-03-21T20:04:00.500Z'],
  ['d74401020304', 'AQIDBA=='],
  ['d818456449455446', 'ZElFVEY='],
  ['d82076687474703a2f2f7777772e6578616d706c652e636f6d', 'http://www.example.com'],
  ['40', ''],
  ['60', ''],
  ['6449455446', 'IETF'],
  ['62225c', '"\\'],
  ['62c3bc', 'ü'],
  ['64f0908591', '𐅑'],
  ['80', []],
  ['8301820203820405', [1, [2, 3], [4, 5]]],
  ['a201020304', { '1': 2, '3': 4 }],
  ['a26161016162820203', { a: 1, b: [2, 3] }],
  ['826161a161626163', ['a', { b: 'c' }]],
  ['5f42010243030405ff', 'AQIDBAU='],
  ['7f657374726561646d696e67ff', 'streaming'],
  ['9fff', []],
  ['9f018202039f0405ffff', [1, [2, 3], [4, 5]]],
  ['83019f0203ff820405', [1, [2, 3], [4, 5]]],
  ['bf61610161629f0203ffff', { a: 1, b: [2, 3] }],
  ['bf6346756ef563416d7421ff', { Fun: true, Amt: -2 }],
]

describe('CBOR', () => {
  test.each(examples)('of RFC 8949, appendix A: %s', (hex, value) => {
    expect(valueOf(hex)).toEqual(value)
  })

  test('a time that is in no year from 1 to 9999 stays its number', () => {
    expect(valueOf('c11b0000ffffffffffff')).toBe(281_474_976_710_655)
    expect(valueOf('c1f97e00')).toBe('NaN')
  })

  test('a member that is called __proto__ is one like any other', () => {
    const value = valueOf(`a1695f5f70726f746f5f5fa1617801`)
    expect(JSON.stringify(value)).toBe('{"__proto__":{"x":1}}')
    expect(Object.getPrototypeOf(value)).toBe(Object.prototype)
  })

  test.each([
    ['', 'MALFORMED_PAYLOAD cbor: the payload ends before'],
    ['19', 'MALFORMED_PAYLOAD cbor: the payload ends before'],
    ['0000', 'MALFORMED_PAYLOAD cbor: 1 bytes are left over'],
    ['1c', 'MALFORMED_PAYLOAD cbor: additional information 28'],
    ['ff', 'MALFORMED_PAYLOAD cbor: simple value 31'],
    ['f0', 'MALFORMED_PAYLOAD cbor: simple value 16'],
    ['f8ff', 'MALFORMED_PAYLOAD cbor: simple value 255'],
    ['7f4101ff', 'MALFORMED_PAYLOAD cbor: a string has a chunk'],
    ['7f7f6161ffff', 'MALFORMED_PAYLOAD cbor: a string has a chunk'],
    ['bf6161ff', 'MALFORMED_PAYLOAD cbor: simple value 31'],
    ['a2616101616102', 'MALFORMED_PAYLOAD cbor: a key of a map is there twice'],
    ['a201613161', 'MALFORMED_PAYLOAD cbor: the payload ends'],
    ['a20101613102', 'MALFORMED_PAYLOAD cbor: a key of a map is there twice'],
    ['a1420102f6', 'MALFORMED_PAYLOAD cbor: a key of a map is neither'],
    ['a1f5f6', 'MALFORMED_PAYLOAD cbor: a key of a map is neither'],
    ['61ff', 'NOT_UTF8'],
    ['6100', 'UNSTORABLE_TEXT'],
    ['63eda080', 'NOT_UTF8'],
    [`c258c8${'ff'.repeat(200)}`, 'NUMBER_OUT_OF_RANGE'],
    ['9bffffffffffffffff', 'MALFORMED_PAYLOAD cbor: the payload ends'],
    ['5bffffffffffffffff', 'MALFORMED_PAYLOAD cbor: the payload ends'],
    ['81'.repeat(33), 'TOO_DEEP'],
    ['c6'.repeat(10_000), 'TOO_DEEP'],
    [`9f${'80'.repeat(10_001)}ff`, 'TOO_MANY_VALUES'],
  ])('%s is refused: %s', (hex, fault) => {
    expect(faultOf(hex)).toContain(fault)
  })

  test('what would be longer as JSON than it may be is refused before it is made (G7)', () => {
    expect(faultOf(`9f${'f6'.repeat(20_001)}ff`)).toContain('PAYLOAD_TOO_LARGE')
    expect(faultOf(`9f${'f6'.repeat(19_990)}ff`)).toBe('none')
    // A text at its bytes, and U+0001 as the six characters that JSON writes for it.
    expect(faultOf(`7a000186a0${'61'.repeat(100_000)}`)).toContain('PAYLOAD_TOO_LARGE')
    expect(faultOf(`7a00004e20${'01'.repeat(20_000)}`)).toContain('PAYLOAD_TOO_LARGE')
  })

  test('bytes in chunks take the room of what is in them, however many chunks that are (G7)', () => {
    const views = vi.spyOn(Buffer.prototype, 'subarray')
    const concat = vi.spyOn(Buffer, 'concat')
    expect(valueOf(`5f${'40'.repeat(100_000)}4101ff`)).toBe('AQ==')
    expect(valueOf(`c25f${'40'.repeat(100_000)}4101ff`)).toBe(1)
    expect(views.mock.calls.length + concat.mock.calls.length).toBeLessThan(10)
    vi.restoreAllMocks()
    // A number of too many bytes is read no further; this one has no end.
    expect(faultOf(`c25f${'41ff'.repeat(129)}`)).toContain('NUMBER_OUT_OF_RANGE')
    expect(faultOf(`5f${`58c8${'00'.repeat(200)}`.repeat(400)}ff`)).toContain('PAYLOAD_TOO_LARGE')
  })

  test('what another library writes is what it was, whatever JSON it is', () => {
    fc.assert(
      fc.property(fc.jsonValue({ maxDepth: 5 }), (value) => {
        fc.pre(!JSON.stringify(value).includes('\\u0000'))
        expect(decode(Buffer.from(encode(value)))).toMatchObject({
          ok: true,
          value: JSON.parse(JSON.stringify(value)) as unknown,
        })
      }),
    )
  })
})
