import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { loadDecoders } from '../../../edge/admission/codecs/route-decoders.ts'
import type { PayloadSettings } from '../../../edge/admission/codecs/settings.ts'
import { useFolder } from '../../support/kept-folder.ts'

const folder = useFolder('tidegate-payloads-')
const path = (name: string): string => join(folder, name)
function file(name: string, text: string): string {
  writeFileSync(path(name), text)
  return path(name)
}
const bounds = { textBytesMax: 1000 }
const load = (...routes: PayloadSettings[]): ReturnType<typeof loadDecoders> => loadDecoders(routes, bounds)
const head = 'syntax = "proto3";'

test('a .proto file is read with what it imports, from its own folder, and with what Google’s are', () => {
  mkdirSync(path('units'), { recursive: true })
  file('units/celsius.proto', `${head} package units; message Celsius { double degrees = 1; }`)
  file('common.proto', `${head} import public "units/celsius.proto"; import "main.proto";`)
  const main = `${head} import "common.proto"; import "google/protobuf/timestamp.proto";
    message M { units.Celsius t = 1; google.protobuf.Timestamp at = 2; }`
  const route: PayloadSettings = { format: 'protobuf', schema: file('main.proto', main), message: 'M' }
  const decoded = load(route).get(route)?.(Buffer.from('0a0909000000000080354012020801', 'hex'))
  expect(decoded).toMatchObject({ ok: true, value: { t: { degrees: 21.5 }, at: '1970-01-01T00:00:01Z' } })
})

test('routes of JSON have none, and those of formats without a schema need no file', () => {
  const routes: PayloadSettings[] = [{}, { format: 'json' }, { format: 'cbor' }, { format: 'messagepack' }]
  expect([...loadDecoders(routes, bounds).keys()]).toEqual(routes.slice(2))
})

test('everything that is wrong with the files is told at once, each with its route and what is wrong', () => {
  const large = file('large.avsc', ' '.repeat(2 ** 20 + 1))
  const routes: PayloadSettings[] = [
    { format: 'avro', schema: [file('none.avsc', '"Nobody"'), path('missing.avsc')] },
    { format: 'avro', schema: [file('text.avsc', 'record'), large, folder] },
    { format: 'protobuf', schema: file('broken.proto', 'message {'), message: 'M' },
    { format: 'protobuf', schema: file('lost.proto', `${head} import "gone.proto";`), message: 'M' },
    { format: 'protobuf', schema: file('away.proto', `${head} import "../x.proto";`), message: 'M' },
    { format: 'protobuf', schema: file('other.proto', `${head} message N {}`), message: 'M' },
  ]
  expect(() => load(...routes)).toThrow(
    expect.objectContaining({ code: 'PAYLOAD_SCHEMA', retryable: false }) as Error,
  )
  const faults = (() => {
    try {
      load(...routes)
      return []
    } catch (error) {
      return (error as Error).message.split('\n').slice(1)
    }
  })()
  const wanted = [
    /routes\[0\].*none\.avsc: there is no type Nobody/,
    /routes\[0\].*missing\.avsc: ENOENT/,
    /routes\[1\].*text\.avsc: .*JSON/,
    /routes\[1\].*large\.avsc: it has more than 1048576 bytes/,
    /routes\[1\].*: it is no file/,
    /routes\[2\].*broken\.proto: illegal/,
    /routes\[3\].*gone\.proto is imported, and is neither in .* nor in a folder above it/,
    /routes\[4\].*\.\.\/x\.proto is imported, and not below/,
    /routes\[5\].*there is no message M; there are N/,
  ]
  expect(faults).toEqual(wanted.map((one) => expect.stringMatching(one) as string))
})

test('a file that imports ever more is not followed for ever', () => {
  for (let index = 0; index < 120; index += 1)
    file(`p${index}.proto`, `${head} import "p${index + 1}.proto";`)
  file('p120.proto', `${head} message M {}`)
  expect(() => load({ format: 'protobuf', schema: path('p0.proto'), message: 'M' })).toThrow(
    /more than 100 files/,
  )
})

test('imports are found in the folder of the file or above it, where protoc has its root', () => {
  mkdirSync(path('proto/acme/v1'), { recursive: true })
  file(
    'proto/acme/common.proto',
    `${head} package acme; import "acme/v1/x.proto"; message C { int32 c = 1; }`,
  )
  const main = `${head} package acme; import "acme/common.proto"; message M { C c = 1; }`
  const route: PayloadSettings = {
    format: 'protobuf',
    schema: file('proto/acme/v1/x.proto', main),
    message: 'acme.M',
  }
  expect(load(route).get(route)?.(Buffer.from('0a020805', 'hex'))).toMatchObject({ value: { c: { c: 5 } } })
})

test('a schema of nanopb is read with what it imports: nanopb.proto, and Google’s descriptor.proto, which needs no file', () => {
  file(
    'nanopb.proto',
    `syntax = "proto2"; import "google/protobuf/descriptor.proto"; option java_package = "fi.kapsi.koti.jpa.nanopb";
      enum FieldType { FT_DEFAULT = 0; FT_CALLBACK = 1; }
      message NanoPBOptions { optional int32 max_size = 1; optional int32 max_count = 2; optional FieldType type = 3 [default = FT_DEFAULT]; }
      extend google.protobuf.FileOptions { optional NanoPBOptions nanopb_fileopt = 1010; }
      extend google.protobuf.MessageOptions { optional NanoPBOptions nanopb_msgopt = 1010; }
      extend google.protobuf.EnumOptions { optional NanoPBOptions nanopb_enumopt = 1010; }
      extend google.protobuf.FieldOptions { optional NanoPBOptions nanopb = 1010; }`,
  )
  const sensor = `syntax = "proto2"; import "nanopb.proto"; option (nanopb_fileopt).max_size = 64;
    message Reading { option (nanopb_msgopt).max_size = 32; required float temperature = 1; optional string name = 2 [(nanopb).max_size = 16]; }`
  const route: PayloadSettings = {
    format: 'protobuf',
    schema: file('sensor.proto', sensor),
    message: 'Reading',
  }
  expect(load(route).get(route)?.(Buffer.from('0d0000ac41', 'hex'))).toMatchObject({
    ok: true,
    value: { temperature: 21.5 },
  })
})

/** A schema whose fingerprint is the same for every scale. */
const meter = (scale: number): string =>
  JSON.stringify({
    type: 'record',
    name: 'M',
    fields: [{ name: 'kwh', type: { type: 'bytes', logicalType: 'decimal', precision: 9, scale } }],
  })

test('files of Avro that have one fingerprint and are read differently are refused', () => {
  const schema = [file('two.avsc', meter(2)), file('three.avsc', meter(3)), file('again.avsc', meter(2))]
  expect(() => load({ format: 'avro', schema })).toThrow(
    /two\.avsc and .*three\.avsc have one fingerprint, [0-9a-f]{16}, and are read differently/,
  )
  expect(load({ format: 'avro', schema: [schema[0] ?? '', schema[2] ?? ''] }).size).toBe(1)
})

const withPaths = `${head} package acme; import "google/protobuf/timestamp.proto"; import "google/protobuf/wrappers.proto"; import "google/protobuf/struct.proto";
    enum E { A = 0; } message M { message I { string id = 1; } string id = 1; uint64 n = 2; google.protobuf.Timestamp at = 3; google.protobuf.StringValue wrapped = 4;
      I inner = 5; repeated string list = 6; map<string, string> labels = 7; google.protobuf.Struct free = 8; E kind = 9; bool on = 10;
      google.protobuf.BoolValue is_wrapped = 11; string readingId = 12; }`

const ofPaths = (key: 'idFrom' | 'timeFrom', path: string): unknown =>
  load({ format: 'protobuf', schema: file('paths.proto', withPaths), message: 'acme.M', [key]: path })

test.each(['id', 'n', 'at', 'wrapped', 'inner.id', 'list.0', '/labels/any', 'free.what.ever'])(
  'of Protobuf an ID or a time may be at %s',
  (path) => {
    expect(() => [ofPaths('idFrom', path), ofPaths('timeFrom', path)]).not.toThrow()
  },
)

test.each<[string, RegExp]>([
  ['ID', /there is no ID in acme\.M, whose fields are, by their JSON names, id, n, at/],
  ['reading_id', /there is no reading_id/],
  ['kind', /kind is an enum/],
  ['on', /on is a bool/],
  ['isWrapped', /isWrapped is a bool/],
  ['inner', /inner is a message/],
  ['inner.none', /there is no none in acme\.M\.I/],
  ['id.x', /there is no x in what is no object/],
  ['list', /list is repeated/],
  ['list.first', /list is repeated, and first is no place in it/],
  ['labels', /labels is a map/],
])('of Protobuf no ID and no time can be at %s, which is told at the start: %s', (path, fault) => {
  for (const key of ['idFrom', 'timeFrom'] as const)
    expect(() => ofPaths(key, path)).toThrow(new RegExp(`routes\\[0\\]\\.${key}: ${fault.source}`))
})
