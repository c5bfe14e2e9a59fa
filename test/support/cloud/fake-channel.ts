import { EventEmitter } from 'node:events'
import { PassThrough } from 'node:stream'
import type { Channel } from 'rabbitmq-client'
import * as util from 'rabbitmq-client/lib/util.js'
import { methods } from '../../../src/amqp/client-internals-rabbit.ts'

type EncoderStreamClass = new (out: NodeJS.WritableStream) => NodeJS.WritableStream
const { EncoderStream } = util as unknown as { EncoderStream: EncoderStreamClass }

/** The client's own stream, in front of a socket that takes `bufferBytes` until it is read. */
export class FakeChannel extends EventEmitter {
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

export const asChannel = (channel: FakeChannel): Channel => channel as unknown as Channel
