import { createRequire } from 'node:module'
import { Writable } from 'node:stream'
import type { Channel, Envelope } from 'rabbitmq-client'
import * as codec from 'rabbitmq-client/lib/codec.js'
import { TidegateError } from '../errors.ts'

/**
 * What we use of rabbitmq-client beside its documented interface: the stream on which a channel hands frames to the
 * socket, one after the other, and the frames that come for it. package.json names its version exactly, and what is not as
 * we know it is refused before anything is published.
 */
export interface ClientInternals {
  /** Takes iterators of frames, and asks one for its next frame when the socket has taken the one before. */
  readonly stream: Writable
  /** What a frame may hold besides its own eight bytes, as negotiated; the client takes what it asked for. */
  readonly frameBytesMax: number
  /** A method and the answer it waits for. */
  invoke(method: number, answer: number, params: object): Promise<unknown>
  /** Sees these frames in the order in which the broker sent them. What a listener throws ends the connection. */
  intercept(listener: FrameListener): void
}

export interface FrameListener {
  onAck(answer: Answer): void
  onNack(answer: Answer): void
  /** The properties of a message that no queue took. */
  onReturn(properties: { correlationId?: string }): void
  /** What one of the three has thrown. */
  onFault(error: unknown): void
}

export interface Answer {
  deliveryTag: number
  multiple: boolean
}

/** Class and method of AMQP 0-9-1, as the client writes them: class << 16 | method. */
export const methods = {
  basicReturn: (60 << 16) | 50,
  basicAck: (60 << 16) | 80,
  basicNack: (60 << 16) | 120,
  confirmSelect: (85 << 16) | 10,
  confirmSelectOk: (85 << 16) | 11,
} as const

/** The frames of one `basic.publish`: the method, the header, the body in as many as it needs. Throws before the first. */
export const contentFrames: (
  channel: number,
  params: Envelope & { deliveryMode: number; mandatory: boolean; rsvp1: number },
  body: Buffer,
  frameBytesMax: number,
) => Generator<Buffer> = (codec as unknown as { genContentFrames: typeof contentFrames }).genContentFrames

/** A content header frame with other properties. @throws RangeError if it is more than a frame may hold. */
export function withProperties(frame: Buffer, properties: Buffer, frameBytesMax: number): Buffer {
  const bytes = contentStartBytes + properties.length
  if (bytes > frameBytesMax)
    throw new RangeError(`properties of ${properties.length} bytes do not fit into a frame`)
  const start = Buffer.from(frame.subarray(0, frameStartBytes + contentStartBytes))
  start.writeUInt32BE(bytes, sizeAt)
  return Buffer.concat([start, properties, frame.subarray(-1)])
}

/** Class, weight and body size, before the properties. */
const contentStartBytes = 12
/** Type, channel and size. */
const frameStartBytes = 7
const sizeAt = 3
/** An empty frame: type, channel and size before what it holds, and one byte behind. */
const frameOverheadBytes = 8

interface RawChannel {
  _conn: { _state: { frameMax: number } }
  _state: { stream: Writable }
  _invoke(method: number, answer: number, params: object): Promise<unknown>
  _onMethod(frame: { methodId: number; params: unknown }): void
  _onHeader(frame: { fields: { correlationId?: string } }): void
}

/** @throws TidegateError `AMQP_CLIENT_UNKNOWN` */
export function internalsOf(channel: Channel): ClientInternals {
  const raw = channel as unknown as RawChannel
  refuseUnknown(raw)
  return {
    stream: raw._state.stream,
    frameBytesMax: raw._conn._state.frameMax - frameOverheadBytes,
    invoke: (method, answer, params) => raw._invoke(method, answer, params),
    intercept(listener) {
      const onMethod = raw._onMethod.bind(channel)
      const onHeader = raw._onHeader.bind(channel)
      let returning = false

      function hear(told: () => void): void {
        try {
          told()
        } catch (error) {
          listener.onFault(error)
          throw error
        }
      }

      raw._onMethod = (frame) => {
        const { methodId, params } = frame
        if (methodId === methods.basicAck) hear(() => listener.onAck(params as Answer))
        else if (methodId === methods.basicNack) hear(() => listener.onNack(params as Answer))
        else {
          returning = methodId === methods.basicReturn
          onMethod(frame)
        }
      }
      // The properties of a returned message come in the frame behind the one that announces it. The client tells of them in a
      // later turn of the event loop, when the confirm that follows has been read.
      raw._onHeader = (frame) => {
        if (returning) hear(() => listener.onReturn(frame.fields))
        returning = false
        onHeader(frame)
      }
    },
  }
}

const { version } = createRequire(import.meta.url)('rabbitmq-client/package.json') as { version: string }
/** Read line by line, and proven (test/contract/cuts.test.ts): to add one, do both again. */
const knownVersions = ['5.0.8']

/** By its version, and by the parts that we use. */
function refuseUnknown(raw: Partial<RawChannel>): void {
  refuseUnknownClient(
    typeof contentFrames === 'function' &&
      typeof raw._invoke === 'function' &&
      typeof raw._onMethod === 'function' &&
      typeof raw._onHeader === 'function' &&
      raw._state?.stream instanceof Writable &&
      typeof raw._conn?._state?.frameMax === 'number',
  )
}

/** `hasParts`: what is used of it is there, in the form in which it is used. @throws TidegateError `AMQP_CLIENT_UNKNOWN` */
export function refuseUnknownClient(hasParts: boolean): void {
  if (hasParts && knownVersions.includes(version)) return
  throw new TidegateError('AMQP_CLIENT_UNKNOWN', {
    message: `rabbitmq-client ${version} is not the version that Tidegate knows from within`,
    retryable: false,
    hint: 'install exactly what package-lock.json names: npm ci',
  })
}
