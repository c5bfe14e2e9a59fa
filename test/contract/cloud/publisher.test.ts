import { EventEmitter } from 'node:events'
import { PassThrough } from 'node:stream'
import type { Channel } from 'rabbitmq-client'
import * as util from 'rabbitmq-client/lib/util.js'
import { describe, expect, test } from 'vitest'
import { createPublisher, type Publishing } from '../../../cloud/amqp/publisher-rabbit.ts'
import { methods } from '../../../src/amqp/client-internals-rabbit.ts'

type EncoderStreamClass = new (out: NodeJS.WritableStream) => NodeJS.WritableStream
const { EncoderStream } = util as unknown as { EncoderStream: EncoderStreamClass }

/** The client's own stream, in front of a socket that takes `bufferBytes` until it is read. */
class FakeChannel extends EventEmitter {
  readonly id = 1
  readonly socket: PassThrough
  readonly _conn = { _state: { frameMax: 131_072 } }
  readonly _state: { stream: NodeJS.WritableStream }
  closed = 0
  onConfirmSelect = (): void => {}

  constructor(bufferBytes = 1_000_000) {
    super()
    this.socket = new PassThrough({ writableHighWaterMark: bufferBytes, readableHighWaterMark: 1 })
    this._state = { stream: new EncoderStream(this.socket) }
  }

  async _invoke(): Promise<void> {
    this.onConfirmSelect()
  }
  _onMethod(_frame: unknown): void {}
  _onHeader(_frame: unknown): void {}

  ack(deliveryTag: number): void {
    this._onMethod({ methodId: methods.basicAck, params: { deliveryTag, multiple: false } })
  }

  async close(): Promise<void> {
    this.closed += 1
    this._state.stream.end()
  }
}

const asChannel = (channel: FakeChannel): Channel => channel as unknown as Channel
const letter = { routingKey: 'a.dead' }
const fateOf = ({ proven }: Publishing): Promise<string> =>
  proven.then(
    () => 'proven',
    (error: Error) => error.message,
  )
const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

describe('a publisher', () => {
  test('tells what was confirmed before the channel ended, and fails the rest with what ended it (G5)', async () => {
    const channel = new FakeChannel()
    const publisher = await createPublisher(asChannel(channel))
    const fates = [1, 2].map(() => fateOf(publisher.publish(letter, Buffer.from('x'))))
    await turn()
    channel.ack(1)
    channel.emit('error', new Error('no exchange'))
    expect(await Promise.all(fates)).toEqual(['proven', 'no exchange'])
    expect(await fateOf(publisher.publish(letter, Buffer.from('x')))).toBe('no exchange')
  })

  test('takes nothing once it is closing, and what is under way is still proven (G5)', async () => {
    const channel = new FakeChannel(1000)
    const publisher = await createPublisher(asChannel(channel))
    const fates = [1, 2, 3].map(() => fateOf(publisher.publish(letter, Buffer.alloc(900))))
    void publisher.close()
    void publisher.close()
    const late = fateOf(publisher.publish(letter, Buffer.alloc(900)))
    channel.socket.resume()
    await turn()
    await turn()
    for (const tag of [1, 2, 3]) channel.ack(tag)
    expect(await Promise.all(fates)).toEqual(['proven', 'proven', 'proven'])
    expect(await late).toBe('the publisher is closing')
    expect(channel.closed).toBe(1)
  })

  test('sends nothing of a message that was taken back before its bytes began to go out (G5)', async () => {
    const channel = new FakeChannel(1000)
    const publisher = await createPublisher(asChannel(channel))
    const first = publisher.publish(letter, Buffer.alloc(2000, 'a'))
    const second = publisher.publish(letter, Buffer.alloc(2000, 'b'))
    const third = publisher.publish(letter, Buffer.alloc(2000, 'c'))
    expect(first.withdraw()).toBe(false)
    expect(second.withdraw()).toBe(true)
    let sent = ''
    channel.socket.on('data', (data: Buffer) => (sent += data.toString('latin1')))
    await turn()
    await turn()
    channel.ack(1)
    channel.ack(2)
    expect(await Promise.all([fateOf(first), fateOf(third)])).toEqual(['proven', 'proven'])
    expect([sent.includes('aaa'), sent.includes('bbb'), sent.includes('ccc')]).toEqual([true, false, true])
  })

  test('is over when its channel ends while it is put into confirm mode', async () => {
    const channel = new FakeChannel()
    channel.onConfirmSelect = () => channel.emit('close')
    const publisher = await createPublisher(asChannel(channel))
    await turn()
    expect(publisher.over).toMatchObject({ error: { code: 'CHANNEL_CLOSED' } })
  })

  test('that cannot be made leaves no channel open', async () => {
    const channel = new FakeChannel()
    channel.onConfirmSelect = () => {
      throw new Error('refused')
    }
    await expect(createPublisher(asChannel(channel))).rejects.toThrow('refused')
    expect(channel.closed).toBe(1)
  })
})
