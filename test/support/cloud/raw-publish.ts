import { Connection } from 'rabbitmq-client'
import { contentFrames, internalsOf, withProperties } from '../../../src/amqp/client-internals-rabbit.ts'
import { wire } from '../../../src/contract/wire.ts'

export interface RawMessage {
  /** By default that of all events. */
  exchange?: string
  routingKey: string
  /** The properties as they are to stand in the content header frame. */
  block: Buffer
  body: string
}

/** Publishes what no client would encode; ends once the broker has read all of it, or has refused the channel. */
export async function publishRaw(url: string, messages: readonly RawMessage[]): Promise<void> {
  const connection = new Connection({ url, frameMax: 131_072 })
  connection.on('error', () => {})
  const channel = await connection.acquire({ emitErrorsFromChannel: true })
  channel.on('error', () => {})
  const { stream, frameBytesMax } = internalsOf(channel)
  for (const { exchange = wire.exchange, routingKey, block, body } of messages) {
    const envelope = { exchange, routingKey, deliveryMode: 2, mandatory: false, rsvp1: 0 }
    const [method, header, ...rest] = contentFrames(channel.id, envelope, Buffer.from(body), frameBytesMax)
    stream.write([method, withProperties(header as Buffer, block, frameBytesMax), ...rest].values())
  }
  // The broker reads a channel in order: what it answers here was sent behind all of them.
  await channel.exchangeDeclare({ exchange: wire.exchange, passive: true, type: 'topic' })
  await channel.close()
  await connection.close()
}

/** A property block of headers alone. */
export function headersBlock(...entries: readonly Buffer[]): Buffer {
  const content = Buffer.concat(entries)
  const start = Buffer.alloc(6)
  start.writeUInt16BE(0x2000)
  start.writeUInt32BE(content.length, 2)
  return Buffer.concat([start, content])
}

export function header(name: string, type: string, value: Buffer): Buffer {
  return Buffer.concat([Buffer.from([name.length]), Buffer.from(name), Buffer.from(type), value])
}

/** As a value of type `S`. */
export function longText(text: string): Buffer {
  const length = Buffer.alloc(4)
  length.writeUInt32BE(text.length)
  return Buffer.concat([length, Buffer.from(text)])
}

export function double(number: number): Buffer {
  const bytes = Buffer.alloc(8)
  bytes.writeDoubleBE(number)
  return bytes
}

/** A value of type `A`: arrays within arrays. */
export function nestedArrays(depth: number): Buffer {
  const bytes = Buffer.alloc(depth * 5)
  for (let level = 0; level < depth; level++) {
    bytes.write('A', level * 5)
    bytes.writeUInt32BE((depth - level - 1) * 5, level * 5 + 1)
  }
  return bytes.subarray(1)
}
