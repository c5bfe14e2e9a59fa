import { createRequire } from 'node:module'
import type { Connection } from 'rabbitmq-client'
import { refuseUnknownClient } from './client-internals-rabbit.ts'
import { faultOfProperties } from './property-block.ts'

/** What a message was sent with, whatever the client makes of it. */
export interface AsSent {
  readonly contentType?: string
  /** The properties, headers among them, as they stand in the content header frame. */
  readonly properties: Buffer
  /** Why they cannot be read; the message then has none of them. */
  readonly fault: string | undefined
}

/** Of a message on a connection given to `receiveAsSent`. */
export function asSentOf(message: object): AsSent {
  const { [mark]: sent, contentType } = message as Marked & { contentType?: string }
  return sent ?? { ...(contentType !== undefined && { contentType }), properties: nothing, fault: undefined }
}

/**
 * From now on no message that is received on this connection can bring it down, and bodies are bytes, verbatim.
 *
 * The client (rabbitmq-client 5.0.8) reads the properties of a message with functions that call themselves for each level of
 * nesting, and what one of them throws ends the connection, with everything that is under way on it; the message is then
 * delivered again, and ends the next one. So properties are looked at before the client reads them, and those that
 * cannot be read are kept from it. And it parses a body that is said to be JSON or text: `JSON.parse` and back is not the text
 * that was sent, and a JSON string that holds an event would become one. So it is not told what a body is said to be.
 *
 * The client collects a body however large it is said to be: one of more than `bodyBytesMax` is received as an empty one.
 *
 * @throws TidegateError `AMQP_CLIENT_UNKNOWN`
 */
export function receiveAsSent(connection: Connection, bodyBytesMax = Infinity): void {
  const raw = connection as unknown as RawConnection
  refuseUnknownClient(typeof raw._handleChunk === 'function' && typeof codec.decodeFrame === 'function')
  readWithCare()
  const handle = raw._handleChunk.bind(connection)
  /** Of bodies that are not collected, by their channels: what is still to come. */
  const uncollected = new Map<number, number>()
  raw._handleChunk = (frame) => {
    if (frame?.type === headerFrame) {
      conceal(frame.fields)
      // A channel may have ended amid a body, and another has its number.
      uncollected.delete(frame.channelId)
      if (frame.bodySize > bodyBytesMax) {
        uncollected.set(frame.channelId, frame.bodySize)
        return handle({ ...frame, bodySize: 0 })
      }
    }
    const left = frame?.type === bodyFrame ? uncollected.get(frame.channelId) : undefined
    if (frame?.type !== bodyFrame || left === undefined) return handle(frame)
    if (left > frame.payload.length) uncollected.set(frame.channelId, left - frame.payload.length)
    else uncollected.delete(frame.channelId)
    // That the peer is alive is all it says.
    handle({ type: heartbeatFrame })
  }
}

const mark = Symbol('as sent')
const nothing = Buffer.alloc(0)

interface Marked {
  [mark]?: AsSent
}

type Fields = Marked & { contentType?: string }

interface HeaderFrame {
  type: typeof headerFrame
  channelId: number
  bodySize: number
  fields: Fields
}

interface BodyFrame {
  type: typeof bodyFrame
  channelId: number
  payload: Buffer
}

type Frame = HeaderFrame | BodyFrame | { type: 1 | typeof heartbeatFrame } | undefined

interface RawConnection {
  _handleChunk(frame: Frame): void
}

type Read = (bytes: number) => Promise<Buffer>

/** What a connection calls for each frame; the client looks it up in its module each time. */
const codec = createRequire(import.meta.url)('rabbitmq-client/lib/codec.js') as {
  decodeFrame: ((read: Read) => Promise<Frame>) & { [mark]?: true }
}

const headerFrame = 2
const bodyFrame = 3
const heartbeatFrame = 8
/** Class, weight and body size, before the properties. */
const contentStartBytes = 12

/** Once a process. Frames of other users of the client are read as before, as far as they can be read. */
function readWithCare(): void {
  const { decodeFrame } = codec
  if (decodeFrame[mark]) return
  // Each frame of each message comes through here: promises are chained only where there is something to be looked at.
  function decodeWithCare(read: Read): Promise<Frame> {
    let start: Buffer | undefined
    let sent: AsSent | undefined
    const look = (payload: Buffer): Buffer => {
      // A copy: it stays with the message, and what was read from the socket, up to 64 KiB, is not to stay with it (G7).
      const properties = Buffer.from(payload.subarray(contentStartBytes, -1))
      sent = { properties, fault: faultOfProperties(properties) }
      return sent.fault === undefined ? payload : withoutProperties(payload)
    }
    const keepStart = (chunk: Buffer): Buffer => (start = chunk)
    const decoded = decodeFrame((bytes) => {
      if (start === undefined) return read(bytes).then(keepStart)
      return start[0] === headerFrame ? read(bytes).then(look) : read(bytes)
    })
    return decoded.then((frame) => {
      if (sent && frame?.type === headerFrame) frame.fields[mark] = sent
      return frame
    })
  }
  codec.decodeFrame = Object.assign(decodeWithCare, { [mark]: true as const })
}

/** As long as it was, with the octet that ends a frame, which the client checks. */
function withoutProperties(payload: Buffer): Buffer {
  const empty = Buffer.alloc(payload.length)
  payload.copy(empty, 0, 0, contentStartBytes)
  payload.copy(empty, payload.length - 1, payload.length - 1)
  return empty
}

function conceal(fields: Fields): void {
  const { contentType, [mark]: sent } = fields
  if (contentType === undefined || sent === undefined) return
  fields[mark] = { ...sent, contentType }
  delete fields.contentType
}
