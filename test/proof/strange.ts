import { createRequire } from 'node:module'
import type { AsyncMessage, Channel, Connection } from 'rabbitmq-client'
import { type Delivery, type Enclosure, type Letter } from '../../cloud/amqp/delivery.ts'
import { Lease } from '../../cloud/amqp/lease-rabbit.ts'
import { deadLetterOf } from '../../cloud/letters/dead-letters.ts'
import { mirrorLetter, retryLetter } from '../../cloud/letters/letters.ts'
import { defineConsumer } from '../../cloud/pipeline/consumer.ts'
import { judge } from '../../cloud/pipeline/judge.ts'
import { selfConsistent } from '../../cloud/gateways/provenance.ts'
import { noSchemas } from '../../src/schemas/registry.ts'
import { noUpcasts } from '../../src/schemas/upcast/chain.ts'
import { createReadAs } from '../../src/schemas/upcast/read-as.ts'
import { noSchemaCheck } from '../../cloud/reading/schema-check.ts'
import { receiveAsSent } from '../../src/amqp/as-sent-rabbit.ts'
import { contentFrames } from '../../src/amqp/client-internals-rabbit.ts'
import { headers as ours } from '../../src/contract/wire.ts'
import { messageOf } from '../../src/errors.ts'
import { type Chance, chance } from '../simulation/plan/chance.ts'

/** A message as anybody who may publish can make it. */
export interface Strange {
  /** Its properties, as they stand in the content header frame. */
  block: Buffer
  body: Buffer
}

/** Messages whose properties nobody expects, the same for the same seed. */
export function strangeMessage(seed: number, index: number): Strange {
  const random = chance(seed, index)
  const block = propertyBlock(random)
  return { block: random.one(0.25) ? spoilt(block, random) : block, body: random.pick(bodies) }
}

/**
 * Takes a message the way of one that fails three times: through the client's decoder, the judgement, and letters that are
 * encoded and come back. Says what is not as it is promised: that nothing throws, and that each letter has a form for which AMQP
 * has bytes, also in the smallest frames.
 */
export async function faultOf({ block, body }: Strange): Promise<string | undefined> {
  let properties = block
  let where = 'the message'
  try {
    for (let round = 1; round <= 3; round++) {
      where = `round ${round}: reading`
      const delivery = await received(properties, body)
      where = `round ${round}: judging`
      const judgement = judge(delivery, consumer, checks, round * 1e12)
      if (delivery.propertyFault !== undefined && judgement.kind !== 'fault')
        return 'what cannot be read was taken'
      where = `round ${round}: the letter`
      const error = judgement.kind === 'fault' ? judgement.error : new TypeError(String(properties))
      const failing = { delivery, error, group: 'group', instance: 'instance', nowMs: round * 1e12 }
      const dead = mirrorLetter(failing, round)
      const event = judgement.kind === 'fault' ? judgement.event : undefined
      const row = deadLetterOf({ ...failing, event, version: undefined })
      if (!row.body.equals(body) || row.key.length !== 32) return 'the dead letter is another message'
      const letter = retryLetter(failing)
      where = `round ${round}: sending`
      if (!dead.body.equals(body)) return 'a letter has another body'
      const sent = sendable(letter, largeFrameBytes)
      if (sent === undefined || sendable(dead, largeFrameBytes) === undefined)
        return 'no form of a letter can be sent'
      if (sendable(dead, smallestFrameBytes) === undefined) return 'no form of a letter fits into 4 KiB'
      if (sent.length > largeFrameBytes / 2) return `a letter's header frame has ${sent.length} bytes`
      properties = sent.subarray(19, -1)
    }
    return undefined
  } catch (error) {
    return `${where}: ${messageOf(error)}`
  }
}

const frameOverheadBytes = 8
const largeFrameBytes = 131_072 - frameOverheadBytes
const smallestFrameBytes = 4_096 - frameOverheadBytes

const checks = {
  provenance: selfConsistent,
  checkSchema: noSchemaCheck,
  readAs: createReadAs(noSchemas, noUpcasts),
}
const consumer = defineConsumer({ group: 'group', types: ['#'], handle() {} })

type Handle = (frame: { fields: object } | undefined) => void

const codec = createRequire(import.meta.url)('rabbitmq-client/lib/codec.js') as {
  decodeFrame(read: (bytes: number) => Promise<Buffer>): Promise<{ fields: object } | undefined>
}

/** As the client hands it over, on a connection that receives as sent. */
async function received(properties: Buffer, body: Buffer): Promise<Delivery> {
  let fields: object = {}
  const connection = { _handleChunk: ((frame) => (fields = frame?.fields ?? {})) as Handle }
  receiveAsSent(connection as unknown as Connection)
  let bytes = headerFrame(properties, body.length)
  const frame = await codec.decodeFrame(async (count) => {
    const chunk = bytes.subarray(0, count)
    bytes = bytes.subarray(count)
    return chunk
  })
  connection._handleChunk(frame)
  const message = {
    ...fields,
    body,
    deliveryTag: 1,
    exchange: 'tidegate.events',
    routingKey: '00.x',
    redelivered: false,
  }
  const lease = new Lease({ active: true } as Channel, 'group.00.v2', 0)
  return lease.deliveries(message as unknown as AsyncMessage, 0, 0)[0] as Delivery
}

function headerFrame(properties: Buffer, bodyBytes: number): Buffer {
  const start = Buffer.alloc(19)
  start.writeUInt8(2, 0)
  start.writeUInt16BE(1, 1)
  start.writeUInt32BE(12 + properties.length, 3)
  start.writeUInt16BE(60, 7)
  start.writeBigUInt64BE(BigInt(bodyBytes), 11)
  return Buffer.concat([start, properties, Buffer.from([206])])
}

/** The header frame of the first form of a letter for which there is one. */
function sendable(letter: Letter, frameBytesMax: number): Buffer | undefined {
  for (const enclosure of [letter, ...letter.barer]) {
    try {
      return encoded(enclosure, letter.body, frameBytesMax)
    } catch {
      // The next one is barer.
    }
  }
  return undefined
}

function encoded({ properties, headers }: Enclosure, body: Buffer, frameBytesMax: number): Buffer {
  const envelope = {
    exchange: '',
    routingKey: 'group.dead.v2',
    correlationId: '1',
    deliveryMode: 2,
    mandatory: true,
    rsvp1: 0,
  }
  const frames = contentFrames(1, { ...properties, headers, ...envelope }, body, frameBytesMax)
  frames.next()
  return frames.next().value as Buffer
}

const bodies = ['', 'x', '{}', '"{}"', 'null', '[[[', '\u0000', '{"specversion":"1.0"}'].map((text) =>
  Buffer.from(text),
)
const texts = [
  '',
  'a',
  'ä'.repeat(127),
  'é'.repeat(100) + 'x',
  '\u0000',
  '\u001b[31m',
  'application/json',
  'text/plain',
  '9'.repeat(40),
]
const numbers = [
  0,
  -0,
  1,
  1.5,
  -1.5,
  NaN,
  Infinity,
  -Infinity,
  1e300,
  -1e300,
  2 ** 50,
  -(2 ** 50),
  2 ** 53 + 2,
  2 ** 63,
  -(2 ** 63),
  1e-320,
]
const names = [
  ...Object.values(ours),
  'x-death',
  'CC',
  'BCC',
  '__proto__',
  'constructor',
  '',
  'x',
  'ü'.repeat(127),
]

function propertyBlock(random: Chance): Buffer {
  let there = 0
  const parts: Buffer[] = []
  const may = (bit: number, make: () => Buffer): void => {
    if (!random.one(bit === 0x2000 ? 0.8 : 0.3)) return
    there |= bit
    parts.push(make())
  }
  const text = (): Buffer => short(random.pick(texts))
  may(0x8000, text)
  may(0x4000, text)
  may(0x2000, () => long(tableContent(random, random.pick([0, 1, 3, 14, 15, 16, 17, 40]))))
  may(0x1000, () => Buffer.from([random.whole(0, 255)]))
  may(0x0800, () => Buffer.from([random.whole(0, 255)]))
  for (const bit of [0x0400, 0x0200, 0x0100, 0x0080]) may(bit, text)
  may(0x0040, () => eight(random.pick([0n, 1n, 2n ** 53n, 2n ** 63n, 2n ** 64n - 1n])))
  for (const bit of [0x0020, 0x0010, 0x0008, 0x0004]) may(bit, text)
  const bits = Buffer.alloc(2)
  bits.writeUInt16BE(there)
  return Buffer.concat([bits, ...parts])
}

function tableContent(random: Chance, depth: number): Buffer {
  const count = random.whole(0, depth > 8 ? 2 : 6)
  const entries = Array.from({ length: count }, () =>
    Buffer.concat([short(random.pick(names)), value(random, depth)]),
  )
  if (depth > 0 && random.one(0.7)) entries.push(Buffer.concat([short('deep'), nested(random, depth)]))
  return Buffer.concat(entries)
}

function nested(random: Chance, depth: number): Buffer {
  if (random.one(0.002)) return wayDown(random.whole(1_000, 20_000))
  if (random.one(0.5)) return typed('F', long(tableContent(random, depth - 1)))
  return typed('A', long(value(random, depth - 1)))
}

/** Arrays within arrays, made from within. */
function wayDown(depth: number): Buffer {
  const bytes = Buffer.alloc(depth * 5)
  for (let level = 0; level < depth; level++) {
    bytes.write('A', level * 5)
    bytes.writeUInt32BE((depth - level - 1) * 5, level * 5 + 1)
  }
  return bytes
}

function value(random: Chance, depth: number): Buffer {
  switch (random.whole(0, depth > 0 ? 11 : 9)) {
    case 0:
      return typed('S', long(Buffer.from(random.pick(texts).repeat(random.pick([1, 1, 1, 100, 1_000])))))
    case 1:
      return typed('S', long(Buffer.from(story(random))))
    case 2: {
      const double = Buffer.alloc(8)
      double.writeDoubleBE(random.pick(numbers))
      return typed('d', double)
    }
    case 3:
      return typed('l', eight(random.pick([0n, 3n, 999n, 1000n, 2n ** 53n - 1n, 2n ** 63n - 1n, 2n ** 63n])))
    case 4:
      return typed('T', eight(2n ** 64n - 1n))
    case 5:
      return typed('t', Buffer.from([random.whole(0, 2)]))
    case 6:
      return typed('V', Buffer.alloc(0))
    case 7:
      return typed(random.pick(['x', 'S']), long(Buffer.from([0xff, 0xfe, 0xc3, 0x28])))
    case 8:
      return typed('D', Buffer.alloc(5, 255))
    case 9:
      return typed('I', Buffer.from([0, 0, 0, random.whole(0, 255)]))
    default:
      return nested(random, depth)
  }
}

function story(random: Chance): string {
  const failure = {
    attempt: 1,
    at: 't',
    code: 'C',
    message: random.pick(texts).repeat(random.pick([1, 20, 400])),
  }
  return random.pick([
    JSON.stringify(Array.from({ length: random.whole(0, 40) }, () => failure)),
    JSON.stringify([{ m: 1 }, null, 'x', failure]),
    '['.repeat(10_000),
    '{',
  ])
}

/** A byte changed, the end cut off but for the bits that a broker always sends, or something put behind. */
function spoilt(block: Buffer, random: Chance): Buffer {
  if (random.one(0.2)) return block.subarray(0, random.whole(2, block.length))
  if (random.one(0.1)) return Buffer.concat([block, Buffer.from([1, 2, 3])])
  const changed = Buffer.from(block)
  for (let times = random.whole(1, 3); times > 0; times--)
    changed[random.whole(0, block.length - 1)] = random.whole(0, 255)
  return changed
}

const typed = (type: string, content: Buffer): Buffer => Buffer.concat([Buffer.from(type), content])

function short(text: string): Buffer {
  const bytes = Buffer.from(text).subarray(0, 255)
  return Buffer.concat([Buffer.from([bytes.length]), bytes])
}

function long(content: Buffer): Buffer {
  const length = Buffer.alloc(4)
  length.writeUInt32BE(content.length)
  return Buffer.concat([length, content])
}

function eight(number: bigint): Buffer {
  const bytes = Buffer.alloc(8)
  bytes.writeBigUInt64BE(number)
  return bytes
}
