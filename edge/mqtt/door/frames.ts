import { checkConnect } from './connect.ts'
import { costOfFilter, costOfPacket, costOfTaken } from './costs.ts'
import { Fields } from './fields.ts'
import { isRequest, packetType, typeNames } from './packet-types.ts'
import { readRequest, type SubscriptionRequest } from './requests.ts'
import { checkTopic, takenBytesMax, type TakenPublish, TakenTopics, type Taking } from './taken.ts'
import { PacketError } from './violations.ts'

/** What of a chunk may go on, and why no more of it does. */
export interface Reading<Topic> {
  /** What the door has taken out: all of it stood before `pass`. */
  taken: readonly TakenPublish<Topic>[]
  /** Whole and checked, or the next bytes of a payload whose topic was checked. */
  pass: Buffer
  /** What lies behind `pass` and what stopped there: to be read next. */
  rest: Buffer | undefined
  /** What the packets cost that were looked at, and how many they were. */
  cost: number
  packets: number
  request?: SubscriptionRequest
  /** The level of a CONNECT that is to be refused for it. */
  refusedLevel?: number
  error?: PacketError
}

export interface FrameLimits {
  packetBytesMax: number
  filtersPerPacketMax: number
}

export interface FrameOptions<Topic> extends FrameLimits {
  taking: Taking<Topic>
  /** What a publish that goes to the broker is expected to cost behind it. */
  costOfFanOut: () => number
}

const headerBytesMax = 5
const nothing: Buffer = Buffer.alloc(0)

/** MQTT 3.1.1, 3.3.1: of a PUBLISH. */
const retainFlag = 0x01
const qos1Flag = 0x02
const qos2Flag = 0x04

/**
 * Reads a stream of MQTT packets chunk by chunk, however it is cut, and finds what is none (MQTT 3.1.1, 2.2 and 3). A packet
 * is refused before any of it has gone on: what is to be checked of it is held until it is there, which is all of it, and of
 * a PUBLISH its topic and packet ID; a payload goes by uncopied and is not looked at. A packet that is too long is refused at
 * its header. A PUBLISH that the door takes itself is held until it is whole. The cost is per packet and per byte of its topic.
 */
export class FrameReader<Topic> {
  readonly #limits: FrameLimits
  readonly #topics: TakenTopics<Topic>
  readonly #costOfFanOut: () => number
  /** What was taken out of the chunk that is being read. */
  #taken: TakenPublish<Topic>[] = []
  /** What its packets cost, and may. */
  #cost = 0
  #packets = 0
  #costMax = Infinity
  /** Bytes of a payload still to go by. */
  #payload = 0
  /** The beginning of a packet of which more is to be checked. */
  #held: Buffer = nothing
  #heldBytes = 0
  #level: number | undefined
  #isOver = false

  // Of the packet that is being looked at.
  #type = 0
  #flags = 0
  #bodyStart = 0
  #end = 0
  #payloadStart = 0
  #topic: Topic | undefined

  constructor({ taking, costOfFanOut, ...limits }: FrameOptions<Topic>) {
    this.#limits = limits
    this.#costOfFanOut = costOfFanOut
    this.#topics = new TakenTopics(taking)
  }

  /**
   * Of the rest of one chunk first, then of the next. Nothing is read after an error or a refused level, and no further packet
   * once those before it cost so much.
   */
  read(chunk: Buffer, costMax = Infinity): Reading<Topic> {
    this.#taken = []
    this.#cost = 0
    this.#packets = 0
    this.#costMax = costMax
    // What follows a DISCONNECT is nobody's [MQTT-3.14.4-2].
    if (this.#isOver) return this.#reading(nothing, undefined)
    return this.#heldBytes > 0 ? this.#readOn(chunk) : this.#readFrom(chunk, 0)
  }

  #reading(pass: Buffer, rest: Buffer | undefined): Reading<Topic> {
    return { taken: this.#taken, pass, rest, cost: this.#cost, packets: this.#packets }
  }

  /** `start`: what lies before it was read already. */
  #readFrom(chunk: Buffer, start: number): Reading<Topic> {
    let at = start
    let passFrom = start
    while (at < chunk.length) {
      if (this.#payload > 0) {
        const passed = Math.min(this.#payload, chunk.length - at)
        this.#payload -= passed
        this.#cost += passed
        at += passed
        continue
      }
      if (at > start && this.#cost >= this.#costMax)
        return this.#reading(chunk.subarray(passFrom, at), chunk.subarray(at))
      // What came before is to be handed on first: whether it may be answered is asked then.
      if (at > start && isRequest((chunk[at] as number) >> 4))
        return this.#reading(chunk.subarray(passFrom, at), chunk.subarray(at))
      const found = this.#look(chunk, at, chunk.length)
      if (typeof found === 'number') {
        this.#hold(chunk.subarray(at))
        return this.#reading(chunk.subarray(passFrom, at), undefined)
      }
      if (found === isTaken) {
        // The broker is handed first what came before.
        if (passFrom < at) return this.#reading(chunk.subarray(passFrom, at), chunk.subarray(at))
        this.#take(chunk)
        passFrom = this.#end
      } else if (found !== passes) {
        this.#charge(found, this.#end - at)
        return { ...this.#reading(chunk.subarray(passFrom, at), restOf(chunk, this.#end)), ...found }
      }
      this.#charge(found, this.#end - at)
      at = this.#end
      // What comes with a CONNECT is read when that is answered: the broker would let what comes later overtake it.
      if (this.#type === packetType.connect && at < chunk.length)
        return this.#reading(chunk.subarray(passFrom, at), chunk.subarray(at))
      if (this.#isOver) break
    }
    return this.#reading(
      passFrom === 0 && at === chunk.length ? chunk : chunk.subarray(passFrom, at),
      undefined,
    )
  }

  /** What is held grows by what is still to be checked, and by no more. */
  #readOn(chunk: Buffer): Reading<Topic> {
    let at = 0
    for (;;) {
      const found = this.#look(this.#held, 0, this.#heldBytes)
      if (typeof found !== 'number') {
        const held = this.#held.subarray(0, this.#heldBytes)
        this.#charge(found, held.length)
        if (found === isTaken) this.#take(held)
        // Held as one to be taken, and not to be taken any more, it has some of its payload with it.
        if (found === passes) this.#payload -= held.length - this.#end
        this.#held = nothing
        this.#heldBytes = 0
        if (found === isTaken) return this.#readFrom(chunk, at)
        const rest = restOf(chunk, at)
        return found === passes ? this.#reading(held, rest) : { ...this.#reading(nothing, rest), ...found }
      }
      const more = Math.min(found - this.#heldBytes, chunk.length - at)
      if (more === 0) return this.#reading(nothing, undefined)
      this.#hold(chunk.subarray(at, at + more))
      at += more
    }
  }

  #charge(found: Outcome, bytes: number): void {
    this.#packets += 1
    this.#cost += bytes
    if (found === isTaken) this.#cost += costOfTaken
    else this.#cost += costOfPacket(this.#type, this.#flags)
    if (found === passes && this.#type === packetType.publish) this.#cost += this.#costOfFanOut()
    if (typeof found === 'object' && 'request' in found)
      this.#cost += found.request.filters.length * costOfFilter
  }

  #hold(bytes: Buffer): void {
    const size = this.#heldBytes + bytes.length
    if (this.#held.length < size) {
      const held = Buffer.allocUnsafe(Math.max(size, 2 * this.#held.length, 64))
      this.#held.copy(held, 0, 0, this.#heldBytes)
      this.#held = held
    }
    bytes.copy(this.#held, this.#heldBytes)
    this.#heldBytes = size
  }

  /**
   * Looks at the packet that begins at `start`: how many bytes of it must be there to go on, or what is to become of it;
   * then `#end` is where what was checked ends, and `#payload` what is still to come.
   */
  #look(bytes: Buffer, start: number, end: number): number | Outcome {
    try {
      const missing = this.#readHeader(bytes, start, end)
      if (missing > 0) return missing
      if (this.#type === packetType.publish) return this.#lookAtPublish(bytes, start, end)
      if (this.#end > end) return this.#end - start
      return this.#check(bytes, start)
    } catch (error) {
      if (error instanceof PacketError) return { error }
      throw error
    }
  }

  /** 0, or how many bytes of the packet must be there to know its length (2.2.3). */
  #readHeader(bytes: Buffer, start: number, end: number): number {
    const first = bytes[start] as number
    let length = 0
    for (let digit = 0; digit < headerBytesMax - 1; digit += 1) {
      const at = start + 1 + digit
      if (at >= end) {
        if (digit === 0) this.#setType(first)
        return digit + 2
      }
      const byte = bytes[at] as number
      length |= (byte & 0x7f) << (7 * digit)
      if (byte < 0x80) {
        this.#setType(first)
        this.#bodyStart = at + 1
        this.#end = this.#bodyStart + length
        const size = this.#end - start
        if (size <= this.#limits.packetBytesMax) return 0
        const detail = `a packet of ${size} bytes, and ${this.#limits.packetBytesMax} are allowed`
        throw new PacketError('too-large', detail)
      }
    }
    throw new PacketError('length', 'a packet has a length of more than four bytes')
  }

  #setType(first: number): void {
    const type = first >> 4
    const name = typeNames[type]
    if (name === undefined) throw new PacketError('type', `a packet of type ${type}, which no client sends`)
    if (this.#level === undefined && type !== packetType.connect)
      throw new PacketError('first-packet', `${name} before CONNECT`)
    if (this.#level !== undefined && type === packetType.connect)
      throw new PacketError('second-connect', 'a second CONNECT')
    this.#type = type
    this.#flags = first & 0x0f
    if (type === packetType.publish) {
      if ((this.#flags & 0x06) === 0x06) throw new PacketError('qos', 'a PUBLISH with QoS 3')
    } else if (this.#flags !== this.#flagsOf(type)) {
      throw new PacketError('flags', `${name} with the flags ${this.#flags}`)
    }
  }

  #flagsOf(type: number): number {
    // In MQTT 3.1 they could be sent again with DUP.
    return isRequest(type) || type === packetType.pubrel
      ? 0x02 | (this.#level === 3 ? this.#flags & 0x08 : 0)
      : 0
  }

  #lookAtPublish(bytes: Buffer, start: number, end: number): number | Outcome {
    const topicStart = this.#bodyStart + 2
    if (topicStart > this.#end) throw new PacketError('truncated', 'PUBLISH ends within its topic')
    if (topicStart > end) return topicStart - start
    const topicEnd = topicStart + u16At(bytes, this.#bodyStart)
    const hasPacketId = (this.#flags & 0x06) > 0
    const checked = hasPacketId ? topicEnd + 2 : topicEnd
    if (checked > this.#end)
      throw new PacketError('truncated', 'PUBLISH ends within its topic or its packet ID')
    if (checked > end) return checked - start
    this.#topic = this.#topicOf(bytes, topicStart, topicEnd, this.#end - start)
    if (hasPacketId && u16At(bytes, topicEnd) === 0)
      throw new PacketError('packet-id', 'a PUBLISH with the packet ID 0')
    this.#payloadStart = checked
    if (this.#topic !== undefined) return this.#end > end ? this.#end - start : isTaken
    this.#payload = this.#end - checked
    this.#end = checked
    return passes
  }

  /** Of a PUBLISH that the door takes itself. @throws PacketError */
  #topicOf(bytes: Buffer, start: number, end: number, size: number): Topic | undefined {
    if ((this.#flags & (qos2Flag | retainFlag)) === 0 && size <= takenBytesMax)
      return this.#topics.find(bytes, start, end)
    checkTopic(bytes, start, end)
    return undefined
  }

  /** Of one that is there whole. */
  #take(bytes: Buffer): void {
    const qos = (this.#flags & qos1Flag) > 0 ? 1 : 0
    const packetId = qos === 0 ? 0 : u16At(bytes, this.#payloadStart - 2)
    const payload = bytes.subarray(this.#payloadStart, this.#end)
    this.#taken.push({ topic: this.#topic as Topic, qos, packetId, payload })
  }

  /** Of a packet that is there whole. */
  #check(bytes: Buffer, start: number): Outcome {
    const name = typeNames[this.#type] as string
    const fields = new Fields(bytes, this.#bodyStart, this.#end, name)
    switch (this.#type) {
      case packetType.connect: {
        const { level } = checkConnect(fields)
        this.#level = level
        return level === 3 || level === 4 ? passes : { refusedLevel: level }
      }
      case packetType.subscribe:
      case packetType.unsubscribe:
        return { request: readRequest(this.#type, fields, this.#limits.filtersPerPacketMax) }
      case packetType.pingreq:
        fields.end()
        return passes
      case packetType.disconnect:
        fields.end()
        this.#isOver = true
        return passes
      default:
        fields.packetId()
        fields.end()
        // The broker reads MQTT 3.1 as if it were 3.1.1.
        bytes[start] = (bytes[start] as number) & ~0x08
        return passes
    }
  }
}

/** Nothing is to be done but to hand it on. */
const passes = Symbol('passes')
/** It is a PUBLISH that the door takes out. */
const isTaken = Symbol('taken')
type Outcome =
  | typeof passes
  | typeof isTaken
  | { request: SubscriptionRequest }
  | { refusedLevel: number }
  | { error: PacketError }

function u16At(bytes: Buffer, at: number): number {
  return ((bytes[at] as number) << 8) | (bytes[at + 1] as number)
}

function restOf(chunk: Buffer, at: number): Buffer | undefined {
  return at < chunk.length ? chunk.subarray(at) : undefined
}
