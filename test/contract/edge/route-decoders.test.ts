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
    /routes\[3\].*gone\.proto: ENOENT/,
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
