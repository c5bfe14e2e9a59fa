import { createRequire } from 'node:module'
import type { Connection } from 'rabbitmq-client'
import { expect, test } from 'vitest'
import { asSentOf, receiveAsSent } from '../../../src/amqp/as-sent-rabbit.ts'

test('what a message was sent with does not keep what was read from the socket with it (G7)', async () => {
  receiveAsSent({ _handleChunk() {} } as unknown as Connection)
  const codec = createRequire(import.meta.url)('rabbitmq-client/lib/codec.js') as {
    decodeFrame: (read: (bytes: number) => Promise<Buffer>) => Promise<{ fields: object }>
  }
  const chunk = Buffer.alloc(65_536)
  // A content header frame: its type, channel 1, its length; basic, a body of 0 bytes, and content type `a` alone.
  Buffer.from('02000100000010003c0000000000000000000080000161ce', 'hex').copy(chunk)
  let at = 0
  const { fields } = await codec.decodeFrame(async (bytes) => chunk.subarray(at, (at += bytes)))
  const { properties } = asSentOf(fields)
  expect(properties.toString('hex')).toBe('80000161')
  expect(properties.buffer).not.toBe(chunk.buffer)
})
