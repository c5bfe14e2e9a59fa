import { avroBinaryDecoder, avroSingleObjectDecoder } from '../../edge/admission/codecs/avro/binary.ts'
import { fingerprintOf } from '../../edge/admission/codecs/avro/fingerprint.ts'
import { parseAvroSchema } from '../../edge/admission/codecs/avro/schema.ts'
import { cborDecoder } from '../../edge/admission/codecs/cbor.ts'
import { type Decode, depthMax } from '../../edge/admission/codecs/decode.ts'
import { messagePackDecoder } from '../../edge/admission/codecs/messagepack.ts'
import { messageIn } from '../../edge/admission/codecs/protobuf/files-protobufjs.ts'
import { protobufDecoder } from '../../edge/admission/codecs/protobuf/message.ts'
import { type Chance, chance } from '../simulation/plan/chance.ts'

const bounds = { textBytesMax: 20_000 }
const lengthMax = 2000

/** Everything that the format has, each within the others, to no end. */
const avro = parseAvroSchema({
  type: 'record',
  name: 'R',
  fields: [
    { name: '__proto__', type: ['null', 'R'] },
    {
      name: 'a',
      type: { type: 'array', items: ['null', 'R', 'long', 'string', 'bytes', 'double', 'boolean'] },
    },
    { name: 'n', type: { type: 'array', items: 'null' } },
    { name: 'm', type: { type: 'map', values: ['int', 'R'] } },
    { name: 'd', type: { type: 'bytes', logicalType: 'decimal', precision: 9, scale: 3 } },
    { name: 't', type: { type: 'long', logicalType: 'timestamp-nanos' } },
    { name: 'e', type: { type: 'enum', name: 'E', symbols: ['A', 'B'] } },
    { name: 'f', type: { type: 'fixed', name: 'F', size: 12, logicalType: 'duration' } },
  ],
})
const singleObjectHeader = Buffer.concat([Buffer.from([0xc3, 0x01]), fingerprintOf(avro)])

const message = messageIn(
  [
    {
      name: 'strange.proto',
      text: `syntax = "proto2"; import "google/protobuf/struct.proto"; import "google/protobuf/timestamp.proto"; import "google/protobuf/duration.proto";
        message M { optional M m = 1; repeated M l = 2; map<string, M> p = 3; repeated int64 i = 4; optional group G = 5 { optional M m = 1; }
          optional string s = 6; optional bytes b = 7; oneof o { double d = 8; E e = 9; M om = 10; } map<int64, sint32> n = 11;
          optional google.protobuf.Struct t = 12; optional google.protobuf.Value v = 13; optional google.protobuf.Timestamp at = 14;
          optional google.protobuf.Duration du = 15; }
        enum E { A = 0; B = 1; }`,
    },
  ],
  'M',
)

export const strangeDecoders: Readonly<Record<string, Decode>> = {
  avro: avroBinaryDecoder(avro, bounds),
  'avro with its fingerprint': avroSingleObjectDecoder([avro], bounds),
  protobuf: protobufDecoder(message, bounds),
  cbor: cborDecoder(bounds),
  messagepack: messagePackDecoder(bounds),
}

/** Bytes that mean something in one of the formats, more often than chance would have it. */
const telling: readonly (readonly number[])[] = [
  [0x80, 0x80, 0x80, 0x80, 0x80, 0x40],
  [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01],
  [0x9f],
  [0xbf],
  [0x5f, 0x41, 0x00],
  [0x5f, ...Array.from({ length: 50 }, () => 0x40), 0xff],
  [0xc2, 0x5f],
  [0x40],
  [0x7f, 0x61, 0x61],
  [0xff],
  [0xc2, 0x49],
  [0xd8, 0x18],
  [0xdd, 0xff, 0xff, 0xff, 0xff],
  [0xdf, 0x00, 0x00, 0xff, 0xff],
  [0xc7, 0x0c, 0xff],
  [0x0a, 0x02, 0x0a, 0x00],
  [0x0b],
  [0x83, 0x01],
  [0x84, 0x01],
  [0x2b],
  [0x2c],
  [0x1a, 0x04, 0x0a, 0x00, 0x12, 0x00],
  [0x62, 0x02],
  [0xfb, 0x7f, 0xf8, 0, 0, 0, 0, 0, 0],
  [0xa1, 0x69, ...Buffer.from('__proto__')],
  [0x81, 0xa9, ...Buffer.from('__proto__')],
  [0x02, 0x12, ...Buffer.from('__proto__')],
  [0, 0],
]

/** What a device could mean, in each of the formats. */
const sound: Readonly<Record<string, string>> = {
  avro: '00040402060261000600020262000a000404d28094ebdc0302010000000200000003000000',
  protobuf: '0a0220011202200220033201783a02010241000000000000f83f5a04080110046a0911000000000000f83f72020801',
  cbor: 'a36161016162830203fb3ff199999999999a6163c11a514b67b0',
  messagepack: '83a161c3a16200a16393cb3ff199999999999ad6ff00000001cf0020000000000001',
}

/** A payload that no device means, the same for the same seed. */
export function strangePayload(seed: number, index: number, kind: string): Buffer {
  const random = chance('payload', seed, index, kind)
  const parts: Buffer[] = kind === 'avro with its fingerprint' ? [singleObjectHeader] : []
  if (random.one(0.5)) return Buffer.concat([...parts, spoilt(sound[kind] ?? sound['avro'] ?? '', random)])
  const one = random.one(0.2) ? partOf(random) : undefined
  const count = random.whole(0, random.one(0.1) ? 400 : 30)
  for (let at = 0; at < count; at += 1) parts.push(one ?? partOf(random))
  return Buffer.concat(parts).subarray(0, lengthMax)
}

/** Up to three bytes of it are others, gone, or in front of others. */
function spoilt(hex: string, random: Chance): Buffer {
  const bytes = [...Buffer.from(hex, 'hex')]
  for (let edits = random.whole(0, 3); edits > 0; edits -= 1)
    bytes.splice(
      random.whole(0, bytes.length),
      random.whole(0, 1),
      ...(random.one(0.7) ? partOf(random) : []),
    )
  return Buffer.from(bytes)
}

function partOf(random: Chance): Buffer {
  if (random.one(0.5)) return Buffer.from(random.pick(telling))
  return Buffer.from([random.one(0.5) ? random.whole(0, 16) : random.whole(0, 255)])
}

/** Says what is not as it is promised: that nothing throws, and that what is read is JSON that is stored as it is, within the bounds. */
export function faultOfPayload(kind: string, payload: Buffer): string | undefined {
  const decode = strangeDecoders[kind] as Decode
  let decoded
  try {
    decoded = decode(payload)
  } catch (error) {
    return `it throws: ${String(error)}`
  }
  if (Object.keys(Object.prototype).length > 0) return 'the prototype of all objects has changed'
  if (!decoded.ok)
    return decoded.fault.detail.includes('the decoder failed') ? decoded.fault.detail : undefined
  const { value } = decoded
  const text = JSON.stringify(value)
  if (text === undefined) return 'it is no JSON'
  if (Buffer.byteLength(text) > bounds.textBytesMax) return `it is ${Buffer.byteLength(text)} bytes of JSON`
  if (text.includes('\\u0000') || !text.isWellFormed()) return 'PostgreSQL would not take its text'
  if (JSON.stringify(JSON.parse(text)) !== text) return 'it is another when it is read again'
  return isOrdinary(value, 0) ? undefined : 'an object of it has a prototype of its own, or it is too deep'
}

function isOrdinary(value: unknown, depth: number): boolean {
  if (typeof value === 'number') return Number.isFinite(value)
  if (typeof value !== 'object' || value === null) return value !== undefined
  const prototype: unknown = Object.getPrototypeOf(value)
  const isPlain = prototype === (Array.isArray(value) ? Array.prototype : Object.prototype)
  return isPlain && depth < depthMax && Object.values(value).every((one) => isOrdinary(one, depth + 1))
}
