import avsc from 'avsc'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { avroBinaryDecoder, avroSingleObjectDecoder } from '../../../edge/admission/codecs/avro/binary.ts'
import { canonicalForm, fingerprintOf, readingForm } from '../../../edge/admission/codecs/avro/fingerprint.ts'
import { parseAvroSchema } from '../../../edge/admission/codecs/avro/schema.ts'
import type { Decoded } from '../../../edge/admission/codecs/decode.ts'

const bounds = { textBytesMax: 100_000 }
const read = (schema: unknown, hex: string): Decoded =>
  avroBinaryDecoder(parseAvroSchema(schema), bounds)(Buffer.from(hex, 'hex'))
const logical = (type: string, logicalType: string, more: object = {}): object => ({
  type,
  logicalType,
  ...more,
})
const fixed = (size: number, logicalType: string, more: object = {}): object => ({
  type: 'fixed',
  name: 'f',
  size,
  logicalType,
  ...more,
})

const form = (schema: unknown): string => readingForm(parseAvroSchema({ type: 'array', items: schema }))

/** The examples of the Avro specification (1.12.0, "Binary Encoding"), and values by its rules. */
const examples: readonly [what: string, schema: unknown, hex: string, value: unknown][] = [
  [
    'record',
    {
      type: 'record',
      name: 'test',
      fields: [
        { name: 'a', type: 'long' },
        { name: 'b', type: 'string' },
      ],
    },
    '3606666f6f',
    { a: 27, b: 'foo' },
  ],
  ['string', 'string', '06666f6f', 'foo'],
  ['array', { type: 'array', items: 'long' }, '04063600', [3, 27]],
  ['array with the length of its block', { type: 'array', items: 'long' }, '0304063600', [3, 27]],
  ['union, null', ['null', 'string'], '00', null],
  ['union, string', ['null', 'string'], '020261', 'a'],
  ['int 0', 'int', '00', 0],
  ['int -1', 'int', '01', -1],
  ['int 1', 'int', '02', 1],
  ['int -64', 'int', '7f', -64],
  ['int 64', 'int', '8001', 64],
  ['long of 2^53 - 1', 'long', 'feffffffffffff1f', 9_007_199_254_740_991],
  ['long of 2^53', 'long', '8080808080808020', '9007199254740992'],
  ['the lowest long', 'long', 'ffffffffffffffffff01', '-9223372036854775808'],
  ['map', { type: 'map', values: 'int' }, '0202610200', { a: 1 }],
  ['an end in more bytes than it needs', { type: 'array', items: 'long' }, '02068080808000', [3]],
  ['enum', { type: 'enum', name: 'e', symbols: ['A', 'B', 'C', 'D'] }, '06', 'D'],
  ['boolean', 'boolean', '01', true],
  ['float', 'float', '0000c03f', 1.5],
  ['double', 'double', '9a9999999999f13f', 1.1],
  ['double that is none', 'double', '000000000000f87f', 'NaN'],
  ['bytes', 'bytes', '040102', 'AQI='],
  ['fixed', { type: 'fixed', name: 'f', size: 2 }, '0102', 'AQI='],
  ['decimal', logical('bytes', 'decimal', { precision: 4, scale: 2 }), '0404d2', '12.34'],
  ['decimal below zero', logical('bytes', 'decimal', { precision: 4, scale: 2 }), '02ff', '-0.01'],
  ['decimal of a fixed', fixed(2, 'decimal', { precision: 4 }), 'fb2e', '-1234'],
  ['decimal that is none', logical('bytes', 'decimal', { precision: 0 }), '0201', 'AQ=='],
  ['date', logical('int', 'date'), 'ac9d02', '2020-01-01'],
  ['time-millis', logical('int', 'time-millis'), 'd00f', '00:00:01'],
  ['timestamp-millis', logical('long', 'timestamp-millis'), 'e80f', '1970-01-01T00:00:01.012Z'],
  ['timestamp-millis before 1970', logical('long', 'timestamp-millis'), '01', '1969-12-31T23:59:59.999Z'],
  ['timestamp-micros', logical('long', 'timestamp-micros'), '02', '1970-01-01T00:00:00.000001Z'],
  ['timestamp-nanos', logical('long', 'timestamp-nanos'), '01', '1969-12-31T23:59:59.999999999Z'],
  ['local-timestamp-millis', logical('long', 'local-timestamp-millis'), '00', '1970-01-01T00:00:00'],
  [
    'timestamp in no year from 1 to 9999',
    logical('long', 'timestamp-millis'),
    'ffffffffffffffffff01',
    '-9223372036854775808',
  ],
  [
    'uuid of a fixed',
    fixed(16, 'uuid'),
    '00112233445566778899aabbccddeeff',
    '00112233-4455-6677-8899-aabbccddeeff',
  ],
  ['duration', fixed(12, 'duration'), '0100000002000000bc0b0000', 'P1M2DT3.004S'],
  ['a logical type that nobody knows', logical('int', 'constructor'), '02', 1],
]

const list = {
  type: 'record',
  name: 'LongList',
  fields: [
    { name: 'value', type: 'long' },
    { name: 'next', type: ['null', 'LongList'] },
  ],
}

describe('Avro', () => {
  test.each(examples)('%s', (_what, schema, hex, value) => {
    expect(read(schema, hex)).toEqual({ ok: true, format: 'avro', value, skippedBytes: 0 })
  })

  test('a record that holds itself, as deep as values may be', () => {
    expect(read(list, '020204020600')).toMatchObject({
      value: { value: 1, next: { value: 2, next: { value: 3 } } },
    })
    expect(read(list, '0202'.repeat(40))).toMatchObject({ fault: { reason: 'TOO_DEEP' } })
    const endless = { type: 'record', name: 'R', fields: [{ name: 'r', type: 'R' }] }
    expect(read(endless, '')).toMatchObject({ fault: { reason: 'TOO_DEEP' } })
  })

  test.each<[string, unknown, string, string]>([
    ['the end is missing', 'string', '06666f', 'MALFORMED_PAYLOAD'],
    ['something is left over', 'int', '0200', 'MALFORMED_PAYLOAD'],
    ['a length is below zero', 'string', '01', 'MALFORMED_PAYLOAD'],
    ['a length is beyond everything', 'bytes', 'feffffffffffffffff01', 'MALFORMED_PAYLOAD'],
    ['a number has no end', 'long', 'ff'.repeat(11), 'MALFORMED_PAYLOAD'],
    ['an int has more than 32 bits', 'int', '8080808010', 'MALFORMED_PAYLOAD'],
    ['a boolean is neither', 'boolean', '02', 'MALFORMED_PAYLOAD'],
    ['a branch is none', ['null', 'string'], '04', 'MALFORMED_PAYLOAD'],
    ['a branch is below zero', ['null', 'string'], '01', 'MALFORMED_PAYLOAD'],
    ['a symbol is none', { type: 'enum', name: 'e', symbols: ['A'] }, '02', 'MALFORMED_PAYLOAD'],
    ['a key is there twice', { type: 'map', values: 'null' }, '0402610261', 'MALFORMED_PAYLOAD'],
    ['a text is not UTF-8', 'string', '02ff', 'NOT_UTF8'],
    ['a text has U+0000', 'string', '0200', 'UNSTORABLE_TEXT'],
  ])('is refused if %s', (_why, schema, hex, reason) => {
    expect(read(schema, hex)).toMatchObject({ ok: false, fault: { reason } })
  })

  test.each<[string, unknown, string, string]>([
    ['2^40 items of no bytes', { type: 'array', items: 'null' }, '80808080808040', 'PAYLOAD_TOO_LARGE'],
    [
      '2^40 records of no fields',
      { type: 'array', items: { type: 'record', name: 'R', fields: [] } },
      '80808080808040',
      'TOO_MANY_VALUES',
    ],
    [
      '2^63 items of a block',
      { type: 'array', items: 'null' },
      'ffffffffffffffffff0100',
      'PAYLOAD_TOO_LARGE',
    ],
    [
      '2^40 fixed of no bytes',
      { type: 'array', items: { type: 'fixed', name: 'f', size: 0 } },
      '80808080808040',
      'PAYLOAD_TOO_LARGE',
    ],
  ])('of %s nothing is made that is too much (G7)', (_what, schema, hex, reason) => {
    expect(read(schema, hex)).toMatchObject({ ok: false, fault: { reason } })
  })

  /** share/test/data/schema-tests.txt of Apache Avro: fingerprints that its Java implementation has checked. */
  test.each<[unknown, string, bigint]>([
    ['null', '"null"', 7195948357588979594n],
    [{ type: 'boolean' }, '"boolean"', -6970731678124411036n],
    ['int', '"int"', 8247732601305521295n],
    ['string', '"string"', -8142146995180207161n],
    [['int', { type: 'boolean' }], '["int","boolean"]', 5392556393470105090n],
    [
      { fields: [], type: 'record', name: 'a.b.foo', namespace: 'x.y' },
      '{"name":"a.b.foo","type":"record","fields":[]}',
      -4616218487480524110n,
    ],
    [
      {
        fields: [
          { type: 'boolean', aliases: [], name: 'f1', default: 'true' },
          { order: 'descending', name: 'f2', doc: 'Hello', type: 'int' },
        ],
        type: 'record',
        name: 'foo',
      },
      '{"name":"foo","type":"record","fields":[{"name":"f1","type":"boolean"},{"name":"f2","type":"int"}]}',
      -4860222112080293046n,
    ],
    [
      { namespace: 'x.y.z', type: 'enum', name: 'foo', doc: 'foo bar', symbols: ['A1', 'A2'] },
      '{"name":"x.y.z.foo","type":"enum","symbols":["A1","A2"]}',
      -4448647247586288245n,
    ],
    [
      { namespace: 'x.y.z', type: 'fixed', name: 'foo', doc: 'foo bar', size: 32 },
      '{"name":"x.y.z.foo","type":"fixed","size":32}',
      -3064184465700546786n,
    ],
    [{ values: 'string', type: 'map' }, '{"type":"map","values":"string"}', -8732877298790414990n],
    [
      {
        name: 'PigValue',
        type: 'record',
        fields: [{ name: 'value', type: ['null', 'int', 'long', 'PigValue'] }],
      },
      '{"name":"PigValue","type":"record","fields":[{"name":"value","type":["null","int","long","PigValue"]}]}',
      -1759257747318642341n,
    ],
  ])(
    '%j has the canonical form and the fingerprint that Apache Avro gives it',
    (schema, canonical, fingerprint) => {
      const parsed = parseAvroSchema(schema)
      expect(canonicalForm(parsed)).toBe(canonical)
      expect(fingerprintOf(parsed).readBigInt64LE()).toBe(fingerprint)
    },
  )

  test('of several schemas the one is taken whose fingerprint goes before the data', () => {
    const decode = avroSingleObjectDecoder([parseAvroSchema('int'), parseAvroSchema('string')], bounds)
    const int = '8f5c393f1ad57572'
    expect(Buffer.from(int, 'hex').readBigInt64LE()).toBe(8247732601305521295n)
    expect(decode(Buffer.from(`c301${int}02`, 'hex'))).toMatchObject({ value: 1 })
    const string = Buffer.alloc(8)
    string.writeBigInt64LE(-8142146995180207161n)
    expect(decode(Buffer.from(`c301${string.toString('hex')}0261`, 'hex'))).toMatchObject({ value: 'a' })
    expect(decode(Buffer.from(`c301${'00'.repeat(8)}02`, 'hex'))).toMatchObject({
      fault: {
        reason: 'WRITER_SCHEMA_UNKNOWN',
        detail: expect.stringContaining('0000000000000000') as string,
      },
    })
    expect(decode(Buffer.from('02', 'hex'))).toMatchObject({
      fault: { reason: 'MALFORMED_PAYLOAD', detail: expect.stringContaining('encoding: binary') as string },
    })
    expect(decode(Buffer.from('c301', 'hex'))).toMatchObject({ fault: { reason: 'MALFORMED_PAYLOAD' } })
  })

  test.each<[string, unknown, RegExp]>([
    ['a name that is none', 'Unknown', /no type Unknown/],
    ['a number', 5, /a name, an object or an array/],
    ['nothing in a field', { type: 'record', name: 'R', fields: [{ name: 'a' }] }, /^\.a: a schema is/],
    ['no fields', { type: 'record', name: 'R' }, /no array of fields/],
    [
      'a field twice',
      { type: 'record', name: 'R', fields: [1, 2].map(() => ({ name: 'a', type: 'int' })) },
      /twice/,
    ],
    ['a record without a name', { type: 'record', fields: [] }, /has a name/],
    [
      'a name twice',
      [
        { type: 'fixed', name: 'R', size: 1 },
        { type: 'record', name: 'R', fields: [] },
      ],
      /R is there twice/,
    ],
    ['a union in a union', ['null', ['int']], /may not hold a union/],
    ['a branch twice', ['int', 'int'], /int twice/],
    ['an enum of no texts', { type: 'enum', name: 'E', symbols: ['a', 'a'] }, /symbols/],
    ['a fixed of no size', { type: 'fixed', name: 'F', size: -1 }, /size/],
    [
      'no end',
      Array.from({ length: 100 }).reduce<unknown>((items) => ({ type: 'array', items }), 'int'),
      /more than 64/,
    ],
  ])('a schema with %s is refused, with the place', (_what, schema, message) => {
    expect(() => parseAvroSchema(schema)).toThrow(message)
  })

  test('names are found in the namespace around them', () => {
    const schema = {
      type: 'record',
      name: 'com.acme.Outer',
      fields: [
        { name: 'a', type: { type: 'fixed', name: 'Id', size: 1 } },
        { name: 'b', type: 'Id' },
        { name: 'c', type: 'com.acme.Id' },
      ],
    }
    expect(read(schema, '010203')).toMatchObject({ value: { a: 'AQ==', b: 'Ag==', c: 'Aw==' } })
  })

  test('a field whose union has null is left out where it is that, as in JSON; elsewhere null is null', () => {
    const optional = {
      type: 'record',
      name: 'R',
      fields: [
        { name: 'a', type: 'null' },
        { name: 'b', type: ['null', 'int'] },
      ],
    }
    expect(read(optional, '00')).toMatchObject({ value: { a: null } })
    expect(JSON.stringify(read(optional, '00'))).not.toContain('"b"')
    expect(read(optional, '0202')).toMatchObject({ value: { a: null, b: 1 } })
    expect(read({ type: 'array', items: ['null', 'int'] }, '0400020200')).toMatchObject({ value: [null, 1] })
    expect(read({ type: 'map', values: ['null', 'int'] }, '0202610000')).toMatchObject({ value: { a: null } })
  })

  test('schemas of one fingerprint that are read differently are told apart', () => {
    const decimal = (scale: number): unknown => logical('bytes', 'decimal', { precision: 9, scale })
    expect(form(decimal(2))).not.toBe(form(decimal(3)))
    expect(form(decimal(2))).not.toBe(form('bytes'))
    expect(form(fixed(16, 'uuid'))).not.toBe(form({ type: 'fixed', name: 'f', size: 16 }))
    expect(form(logical('long', 'timestamp-millis'))).not.toBe(form(logical('long', 'timestamp-micros')))
    // What is as if it were not there.
    expect(form(logical('long', 'nobody-knows'))).toBe(form('long'))
    expect(form(logical('int', 'decimal', { precision: 2 }))).toBe(form('int'))
  })

  test('what another library writes is what it was', () => {
    const schema = {
      type: 'record',
      name: 'Reading',
      fields: [
        { name: 'n', type: 'long' },
        { name: 'd', type: 'double' },
        { name: 's', type: 'string' },
        { name: 'o', type: ['null', 'int'] },
        { name: 'l', type: { type: 'array', items: 'string' } },
        { name: 'm', type: { type: 'map', values: 'boolean' } },
        { name: 'e', type: { type: 'enum', name: 'E', symbols: ['A', 'B'] } },
        { name: 'b', type: 'bytes' },
      ],
    }
    const type = avsc.Type.forSchema(schema as avsc.Schema)
    const decode = avroBinaryDecoder(parseAvroSchema(schema), bounds)
    const text = fc.string({ unit: 'grapheme' }).filter((one) => !one.includes('\u0000'))
    const reading = fc.record({
      // Beyond 2^52 that library writes other numbers.
      n: fc.integer({ min: -(2 ** 52), max: 2 ** 52 }),
      d: fc.double({ noNaN: true, noDefaultInfinity: true }).map((one) => one + 0),
      s: text,
      o: fc.option(fc.integer()),
      l: fc.array(text),
      // That library loses a key of that name.
      m: fc.dictionary(
        text.filter((one) => one !== '__proto__'),
        fc.boolean(),
        { noNullPrototype: true },
      ),
      e: fc.constantFrom('A', 'B'),
      b: fc.uint8Array().map((one) => Buffer.from(one)),
    })
    fc.assert(
      fc.property(reading, (one) => {
        const { o, ...rest } = one
        const value = { ...rest, ...(o !== null && { o }), b: one.b.toString('base64') }
        expect(decode(type.toBuffer(one))).toMatchObject({ ok: true, value })
      }),
    )
  })
})
