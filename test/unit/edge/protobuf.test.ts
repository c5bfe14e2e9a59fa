import fc from 'fast-check'
import protobufjs from 'protobufjs'
import { describe, expect, test, vi } from 'vitest'
import { ByteReader } from '../../../edge/admission/codecs/bytes.ts'
import type { Decode, Decoded } from '../../../edge/admission/codecs/decode.ts'
import { importsOf, messageIn } from '../../../edge/admission/codecs/protobuf/files-protobufjs.ts'
import { protobufDecoder } from '../../../edge/admission/codecs/protobuf/message.ts'
import type { ProtobufSettings } from '../../../edge/admission/codecs/settings.ts'

const bounds = { textBytesMax: 100_000 }
const proto3 = 'syntax = "proto3";'

/** What a message of this body reads. */
function read(body: string, hex: string, head = proto3, settings: ProtobufSettings = {}): Decoded {
  return decoderOf(`${head} ${body}`, { settings })(Buffer.from(hex, 'hex'))
}

function decoderOf(text: string, { textBytesMax = bounds.textBytesMax, settings = {} } = {}): Decode {
  return protobufDecoder(messageIn([{ name: 'a.proto', text }], 'M'), { textBytesMax }, settings)
}

/** The hex of a field that says its length. */
function field(number: number, inner: string): string {
  return `${varint(number * 8 + 2)}${varint(inner.length / 2)}${inner}`
}

function varint(value: number): string {
  const byte = value % 128
  if (value < 128) return byte.toString(16).padStart(2, '0')
  return `${(byte + 128).toString(16)}${varint(Math.floor(value / 128))}`
}

/** Examples of protobuf.dev/programming-guides/encoding, and values by its rules; JSON by that of ProtoJSON. */
const examples: readonly [what: string, body: string, hex: string, value: unknown][] = [
  ['varint', 'message M { int32 a = 1; }', '089601', { a: 150 }],
  ['string', 'message M { string b = 2; }', '120774657374696e67', { b: 'testing' }],
  ['message', 'message T { int32 a = 1; } message M { T c = 3; }', '1a03089601', { c: { a: 150 } }],
  ['packed', 'message M { repeated int32 f = 6; }', '3206038e029ea705', { f: [3, 270, 86_942] }],
  ['one by one', 'message M { repeated int32 f = 6; }', '3003308e02309ea705', { f: [3, 270, 86_942] }],
  ['int32 below zero', 'message M { int32 a = 1; }', '08feffffffffffffffff01', { a: -2 }],
  ['sint32', 'message M { sint32 a = 1; }', '0803', { a: -2 }],
  ['sint32, the lowest', 'message M { sint32 a = 1; }', '08ffffffff0f', { a: -2_147_483_648 }],
  ['uint32', 'message M { uint32 a = 1; }', '08ffffffff0f', { a: 4_294_967_295 }],
  ['int64', 'message M { int64 a = 1; }', '08ffffffffffffffffff01', { a: '-1' }],
  ['uint64', 'message M { uint64 a = 1; }', '08ffffffffffffffffff01', { a: '18446744073709551615' }],
  ['sint64', 'message M { sint64 a = 1; }', '08ffffffffffffffffff01', { a: '-9223372036854775808' }],
  ['fixed32', 'message M { fixed32 a = 1; }', '0dffffffff', { a: 4_294_967_295 }],
  ['sfixed32', 'message M { sfixed32 a = 1; }', '0dffffffff', { a: -1 }],
  ['fixed64', 'message M { fixed64 a = 1; }', '09ffffffffffffffff', { a: '18446744073709551615' }],
  ['sfixed64', 'message M { sfixed64 a = 1; }', '09ffffffffffffffff', { a: '-1' }],
  ['float', 'message M { float a = 1; }', '0d0000c03f', { a: 1.5 }],
  ['double', 'message M { double a = 1; }', '099a9999999999f13f', { a: 1.1 }],
  ['double that is none', 'message M { double a = 1; }', '09000000000000f87f', { a: 'NaN' }],
  ['bool', 'message M { bool a = 1; }', '0801', { a: true }],
  ['bytes', 'message M { bytes a = 1; }', '0a020102', { a: 'AQI=' }],
  ['enum', 'enum E { OFF = 0; ON = 1; } message M { E a = 1; }', '0801', { a: 'ON' }],
  ['enum, a number without a name', 'enum E { OFF = 0; } message M { E a = 1; }', '0805', { a: 5 }],
  [
    'names of JSON',
    'message M { int32 foo_bar = 1; int32 b = 2 [json_name = "B!"]; }',
    '08011002',
    { fooBar: 1, 'B!': 2 },
  ],
  ['map', 'message M { map<string, int32> m = 1; }', '0a050a01611001', { m: { a: 1 } }],
  [
    'map of numbers, key and value missing',
    'message M { map<int64, bool> m = 1; }',
    '0a00',
    { m: { '0': false } },
  ],
  [
    'map with one key twice',
    'message M { map<string, int32> m = 1; }',
    '0a050a016110010a050a01611002',
    { m: { a: 2 } },
  ],
  [
    'map of messages',
    'message T { int32 a = 1; } message M { map<int32, T> m = 1; }',
    '0a06080112020803',
    { m: { '1': { a: 3 } } },
  ],
  ['the last of a field', 'message M { int32 a = 1; }', '08010802', { a: 2 }],
  ['the last of a oneof', 'message M { oneof o { int32 a = 1; string b = 2; } }', '0801120178', { b: 'x' }],
  [
    'parts of a message',
    'message T { int32 a = 1; int32 b = 2; } message M { T t = 1; }',
    '0a0208010a021002',
    { t: { a: 1, b: 2 } },
  ],
  [
    'parts of a message in a map',
    'message T { int32 a = 1; int32 b = 2; } message M { map<string, T> m = 1; }',
    '0a0b0a01611202080112021002',
    { m: { a: { a: 1, b: 2 } } },
  ],
]

const defaults = `message T { int32 a = 1; }
  message M { int32 n = 1; string s = 2; repeated int32 l = 3; map<int32, int32> m = 4; optional int32 o = 5; T t = 6;
    oneof one { int32 x = 7; } bool b = 8; bytes y = 9; E e = 10; int64 g = 11; }
  enum E { OFF = 0; ON = 1; }`

const common = (name: string): string => `${proto3} import "google/protobuf/${name}.proto";`

function at(hex: string): Decoded {
  return read('message M { google.protobuf.Timestamp a = 1; }', hex, common('timestamp'))
}

describe('Protobuf', () => {
  test.each(examples)('%s: %s %s', (_what, body, hex, value) => {
    expect(read(body, hex)).toEqual({ ok: true, format: 'protobuf', value, skippedBytes: 0 })
  })

  test('a field whose zero is not sent is there all the same; one that knows absence is not', () => {
    const zeros = { n: 0, s: '', l: [], m: {}, b: false, y: '', e: 'OFF', g: '0' }
    expect(read(defaults, '', proto3, { empty: 'zeros' })).toMatchObject({ ok: true, value: zeros })
    expect(read(defaults, '28003200')).toMatchObject({ value: { ...zeros, o: 0, t: { a: 0 } } })
    expect(read(defaults, '3800')).toMatchObject({ value: { ...zeros, x: 0 } })
  })

  test.each<[string, string, string, unknown]>([
    ['timestamp', 'Timestamp', '0a020801', '1970-01-01T00:00:01Z'],
    ['duration', 'Duration', '0a020801', '1s'],
    ['duration', 'Duration', '0a0b08ffffffffffffffffff01', '-1s'],
    ['wrappers', 'Int64Value', '0a020801', '1'],
    ['wrappers', 'BoolValue', '0a00', false],
    ['struct', 'Value', '0a020800', null],
    ['struct', 'Value', '0a0911000000000000f83f', 1.5],
    ['struct', 'Struct', '0a090a070a016112022001', { a: true }],
    ['struct', 'ListValue', '0a080a0220010a020800', [true, null]],
    ['empty', 'Empty', '0a00', {}],
  ])('%s of Google: %s %s', (name, type, hex, value) => {
    expect(read(`message M { google.protobuf.${type} a = 1; }`, hex, common(name))).toMatchObject({
      ok: true,
      value: { a: value },
    })
  })

  test('a timestamp of the past with its nanoseconds, and one that is in no year', () => {
    // seconds -1, nanos 500000000
    expect(at('0a1108ffffffffffffffffff011080cab5ee01')).toMatchObject({
      value: { a: '1969-12-31T23:59:59.500Z' },
    })
    expect(at('0a0a08ffffffffffffffff7f')).toMatchObject({
      value: { a: { seconds: '9223372036854775807', nanos: 0 } },
    })
  })

  test('what its schema does not know is passed over, and counted', () => {
    const body = 'message M { int32 a = 1; }'
    expect(read(body, '08011003')).toMatchObject({ value: { a: 1 }, skippedBytes: 2 })
    expect(read(body, '2a02ffff0801')).toMatchObject({ value: { a: 1 }, skippedBytes: 4 })
    // In a group, which has a group in it.
    expect(read(body, '131b1c140801')).toMatchObject({ value: { a: 1 }, skippedBytes: 4 })
    expect(read(body, '08011003', proto3, { unknown: 'quarantine' })).toMatchObject({
      fault: { detail: 'protobuf: there is no field 2 in M, and the route says unknown: quarantine' },
    })
  })

  test.each([
    ['a field has another wire type: a float for a double', 'message M { double a = 1; }', '0d0000c03f'],
    ['a field has another wire type: a text for a number', 'message M { int32 a = 1; }', '0a0178'],
    [
      'a field has another wire type: a number for a text',
      'message M { string a = 1; int32 b = 2; }',
      '08011001',
    ],
    ['a number that is there once is packed', 'message M { int32 a = 1; }', '0a0101'],
    [
      'a message is a group, and has its length by the file',
      'message T {} message M { T t = 1; int32 b = 2; }',
      '0b0c',
    ],
    ['a key of a map has another wire type', 'message M { map<string, int32> m = 1; }', '0a020801'],
    ['a value of a map has another wire type', 'message M { map<string, int32> m = 1; }', '0a0612040a02ffff'],
    ['it has no bytes', 'message M { int32 a = 1; }', ''],
    ['it is another message, of which nothing is known', 'message M { int32 a = 1; }', '1203616263'],
  ])('is no message of zeros: it is refused if %s', (_why, body, hex) => {
    expect(read(body, hex)).toMatchObject({ ok: false, fault: { reason: 'MALFORMED_PAYLOAD' } })
  })

  test('a message of zeros is no bytes, which a route may say that its devices send', () => {
    const body = 'message M { int32 a = 1; }'
    expect(read(body, '')).toMatchObject({
      fault: { detail: expect.stringContaining('the route says empty: zeros') as string },
    })
    expect(read(body, '', proto3, { empty: 'zeros' })).toMatchObject({ value: { a: 0 } })
    // An array that is there, and has nothing in it.
    expect(read('message M { repeated int32 l = 1; }', '0a00')).toMatchObject({ value: { l: [] } })
    expect(read('message M {}', '')).toMatchObject({ value: {} })
  })

  test('proto2: what is required is required, groups are messages, extensions have their name', () => {
    const head = 'syntax = "proto2";'
    const body = `message M { required int32 a = 1; optional group G = 2 { optional int32 z = 1; } extensions 100 to 200; }
      extend M { optional int32 ex = 101; }`
    expect(read(body, '0801', head)).toMatchObject({ value: { a: 1 } })
    expect(read(body, '080113080314', head)).toMatchObject({ value: { a: 1, g: { z: 3 } } })
    expect(read(body, '0801a80605', head)).toMatchObject({ value: { a: 1, '[ex]': 5 } })
    expect(read(body, '', head)).toMatchObject({ fault: { reason: 'MALFORMED_PAYLOAD' } })
  })

  test.each<[string, string, string, string]>([
    ['a field has the number 0', 'message M {}', '0000', 'MALFORMED_PAYLOAD'],
    ['a wire type is none', 'message M {}', '0e', 'MALFORMED_PAYLOAD'],
    ['a length leads nowhere', 'message M { string s = 1; }', '0affffffff0f', 'MALFORMED_PAYLOAD'],
    ['a group has no end', 'message M {}', '0b', 'MALFORMED_PAYLOAD'],
    ['a group ends that has not begun', 'message M {}', '0c', 'MALFORMED_PAYLOAD'],
    ['a group ends as another', 'message M {}', '0b14', 'MALFORMED_PAYLOAD'],
    ['a number has no end', 'message M { int32 a = 1; }', `08${'ff'.repeat(11)}`, 'MALFORMED_PAYLOAD'],
    ['a packed number is cut', 'message M { repeated fixed32 a = 1; }', '0a03010203', 'MALFORMED_PAYLOAD'],
    ['a text is not UTF-8', 'message M { string s = 1; }', '0a01ff', 'NOT_UTF8'],
    ['a text has U+0000', 'message M { string s = 1; }', '0a0100', 'UNSTORABLE_TEXT'],
    ['groups are within one another', 'message M {}', '0b'.repeat(1000), 'TOO_DEEP'],
    [
      'there are too many messages',
      'message T {} message M { repeated T t = 1; }',
      '0a00'.repeat(10_001),
      'TOO_MANY_VALUES',
    ],
    [
      'there are too many arrays',
      'message T { repeated int32 l = 1; } message M { repeated T t = 1; }',
      '0a020801'.repeat(5001),
      'TOO_MANY_VALUES',
    ],
    [
      'there are too many arrays of nothing',
      'message T { repeated int32 l = 1; } message M { repeated T t = 1; }',
      '0a00'.repeat(5001),
      'TOO_MANY_VALUES',
    ],
    [
      'the names of its fields are too much (G7)',
      `message T { ${Array.from({ length: 20 }, (_, i) => `int32 a_very_long_name_of_a_field_${i} = ${i + 1};`).join('')} } message M { repeated T t = 1; }`,
      '0a00'.repeat(200),
      'PAYLOAD_TOO_LARGE',
    ],
  ])('is refused if %s', (_why, body, hex, reason) => {
    expect(read(body, hex)).toMatchObject({ ok: false, fault: { reason } })
  })

  test('messages within one another are as deep as values may be, and a key of a map changes no prototype', () => {
    let hex = ''
    for (let depth = 0; depth < 40; depth += 1)
      hex = `0a${(hex.length / 2).toString(16).padStart(2, '0')}${hex}`
    expect(read('message M { M m = 1; }', hex)).toMatchObject({ fault: { reason: 'TOO_DEEP' } })
    const proto = Buffer.from('__proto__').toString('hex')
    const map = read(
      'message T { int32 x = 1; } message M { map<string, T> m = 1; }',
      `0a0f0a09${proto}12020801`,
    )
    expect(JSON.stringify(map)).toContain('{"m":{"__proto__":{"x":1}}}')
  })

  test('each byte is looked at once, also in groups within one another (G7)', () => {
    const varints = vi.spyOn(ByteReader.prototype, 'varint')
    const head = 'edition = "2023"; option features.message_encoding = DELIMITED;'
    const zeros = '1000'.repeat(1000)
    const depth = 25
    const known = read(
      'message M { M m = 1; int32 a = 2; }',
      `${'0b'.repeat(depth)}${zeros}${'0c'.repeat(depth)}`,
      head,
    )
    expect(known.ok).toBe(true)
    // Once as a field's, once as its value.
    expect(varints.mock.calls.length).toBeLessThan(2200)
    varints.mockClear()
    const unknown = read(
      'message M { int32 a = 2; }',
      `1001${'0b'.repeat(depth)}${zeros}${'0c'.repeat(depth)}`,
    )
    expect(unknown).toMatchObject({ skippedBytes: 2 * depth + 2000 })
    expect(varints.mock.calls.length).toBeLessThan(2200)
    vi.restoreAllMocks()
  })

  test('a message in many parts is one, of the room of one (G7)', () => {
    const parts = `${'0a00'.repeat(20_000)}0a020801`
    expect(read('message T { int32 a = 1; } message M { T t = 1; }', parts)).toMatchObject({
      value: { t: { a: 1 } },
    })
  })

  test('the bounds are those of the JSON, and not of the messages that it was (G7)', () => {
    const times = `${common('timestamp')} message M { repeated google.protobuf.Timestamp a = 1; }`
    const hex = '0a020801'.repeat(10_001)
    expect(decoderOf(times, { textBytesMax: 300_000 })(Buffer.from(hex, 'hex'))).toMatchObject({ ok: true })
    const body = 'message M { google.protobuf.Value v = 1; }'
    const nested = (levels: number, list: boolean): Decoded => {
      let value = '2001'
      for (let level = 0; level < levels; level += 1)
        value = list ? field(6, field(1, value)) : field(5, field(1, `0a0161${field(2, value)}`))
      return read(body, field(1, value), common('struct'))
    }
    for (const list of [true, false]) {
      expect(nested(31, list)).toMatchObject({ ok: true })
      expect(nested(32, list)).toMatchObject({ fault: { reason: 'TOO_DEEP' } })
    }
  })

  test.each<[string, string, string]>([
    ['timestamp', 'repeated google.protobuf.Timestamp a = 1;', '0a0808011080cab5ee01'.repeat(200)],
    ['duration', 'repeated google.protobuf.Duration a = 1;', '0a020801'.repeat(200)],
    ['wrappers', 'repeated google.protobuf.Int64Value a = 1;', '0a020801'.repeat(200)],
    ['struct', 'repeated google.protobuf.Value a = 1;', '0a020800'.repeat(200)],
    ['struct', 'google.protobuf.Struct a = 1;', '0a090a070a016112022001'],
    ['struct', 'repeated google.protobuf.ListValue a = 1;', '0a080a0220010a020800'.repeat(200)],
    ['struct', 'repeated int32 l = 1; map<int32, int32> m = 2;', '0801'.repeat(200)],
  ])('of %s in "%s" the JSON is counted, and little more', (name, body, hex) => {
    const text = `${common(name)} message M { ${body} }`
    const bytes = Buffer.from(hex, 'hex')
    const decoded = decoderOf(text)(bytes)
    const length = decoded.ok ? JSON.stringify(decoded.value).length : 0
    expect(length).toBeGreaterThan(10)
    expect(decoderOf(text, { textBytesMax: length - 1 })(bytes)).toMatchObject({
      fault: { reason: 'PAYLOAD_TOO_LARGE' },
    })
    expect(decoderOf(text, { textBytesMax: Math.ceil(length * 1.2) + 20 })(bytes)).toMatchObject({ ok: true })
  })

  test('of a oneof only the member is kept that counts, however many it may have', () => {
    const members = Array.from({ length: 500 }, (_, index) => `int32 m${index} = ${index + 1};`).join(' ')
    const text = `${proto3} message M { oneof o { ${members} } }`
    expect(messageIn([{ name: 'a.proto', text }], 'M').always).toEqual([])
    expect(decoderOf(text)(Buffer.from('080110020803', 'hex'))).toMatchObject({ value: { m0: 3 } })
    const times =
      'message M { oneof o { google.protobuf.Timestamp a = 1; google.protobuf.Timestamp b = 2; } }'
    expect(read(times, '0a001200', common('timestamp'))).toMatchObject({
      value: { b: '1970-01-01T00:00:00Z' },
    })
    expect(read(times, '0a001200'.repeat(6000), common('timestamp'))).toMatchObject({
      fault: { reason: 'TOO_MANY_VALUES' },
    })
  })

  test.each([
    ['message M { int32 foo_bar = 1; int32 fooBar = 2; }', /M: foo_bar and fooBar are both fooBar in JSON/],
    ['message M { int32 a = 1; int32 b = 2 [json_name = "a"]; }', /a and b are both a in JSON/],
    ['message M { int32 __proto__ = 1; }', /the name __proto__ \(line 1\)/],
    ['message M { int32 a = 1 [json_name = "__proto__"]; }', /the name __proto__/],
  ])('a file is refused of which a field would be lost: %s', (body, message) => {
    expect(() => messageIn([{ name: 'a.proto', text: `${proto3} ${body}` }], 'M')).toThrow(message)
  })

  test('a file that is none, and a message that is not there, are said so', () => {
    expect(() => messageIn([{ name: 'a.proto', text: 'message {' }], 'M')).toThrow(/^a\.proto: illegal/)
    expect(() =>
      messageIn([{ name: 'a.proto', text: `${proto3} message M { Nobody n = 1; }` }], 'M'),
    ).toThrow(/Nobody/)
    const text = `${proto3} package com.acme; message Reading { message Inner {} }`
    expect(() => messageIn([{ name: 'a.proto', text }], 'com.acme.Other')).toThrow(
      'there is no message com.acme.Other; there are com.acme.Reading, com.acme.Reading.Inner',
    )
    expect(messageIn([{ name: 'a.proto', text }], 'com.acme.Reading.Inner').fullName).toBe(
      '.com.acme.Reading.Inner',
    )
  })

  test('imports are those that need a file', () => {
    const text = `${proto3} import "google/protobuf/any.proto"; import public "b/c.proto"; message M {}`
    expect(importsOf({ name: 'a.proto', text })).toEqual(['b/c.proto'])
  })

  test('what another library writes is what it was', () => {
    const text = `${proto3} message M { int32 a = 1; sint64 b = 2; string c = 3; repeated double d = 4; map<string, bool> e = 5;
      optional fixed64 f = 6; bytes g = 7; M h = 8; repeated string i = 9; }`
    const decode = protobufDecoder(messageIn([{ name: 'a.proto', text }], 'M'), bounds)
    const type = protobufjs.parse(text).root.lookupType('M')
    const words = fc
      .string({ unit: 'grapheme' })
      .filter((one) => !one.includes('\u0000') && one !== '__proto__')
    const long = fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }).map(String)
    const message = fc.letrec<{ message: Record<string, unknown> }>((tie) => ({
      message: fc.record({
        a: fc.integer(),
        b: long,
        c: words,
        d: fc.array(fc.double({ noNaN: true, noDefaultInfinity: true }).map((one) => one + 0)),
        e: fc.dictionary(words, fc.boolean(), { noNullPrototype: true }),
        f: fc.option(fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }).map(String), { nil: undefined }),
        g: fc.uint8Array().map((one) => Buffer.from(one).toString('base64')),
        h: fc.option(tie('message'), { nil: undefined, maxDepth: 4 }),
        i: fc.array(words),
      }),
    })).message
    fc.assert(
      fc.property(message, (one) => {
        const bytes = Buffer.from(type.encode(type.fromObject(one)).finish())
        const value = JSON.parse(JSON.stringify(one)) as unknown
        expect(decode(bytes)).toMatchObject({ ok: true, value, skippedBytes: 0 })
      }),
    )
  })
})
