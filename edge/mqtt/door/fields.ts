import { isUtf8 } from 'node:buffer'
import { PacketError } from './violations.ts'

const slash = 0x2f
const plus = 0x2b
const hash = 0x23

/** What a text may be: any text, a topic to publish to (MQTT 3.1.1, 4.7), or a filter to subscribe to. */
export type TextKind = 'text' | 'topic' | 'filter'

/**
 * @throws PacketError what lies there is no text of MQTT (1.5.3), no topic or no filter. The bytes are looked at once and
 * not copied.
 */
export function checkText(bytes: Buffer, start: number, end: number, kind: TextKind, what: string): void {
  if (start === end && kind !== 'text') throw new PacketError('empty-topic', `${what} is empty`)
  let isAscii = true
  for (let at = start; at < end; at += 1) {
    const byte = bytes[at] as number
    // Nearly all of a topic lies between these two: one look at each is enough.
    if (byte > hash && byte < 0x80 && byte !== plus) continue
    if (byte >= 0x80) isAscii = false
    else if (byte === 0) throw new PacketError('nul', `${what} holds U+0000`)
    else if (byte === plus || byte === hash) checkWildcard(bytes, start, end, at, kind, what)
  }
  if (!isAscii && !isUtf8(bytes.subarray(start, end)))
    throw new PacketError('utf8', `${what} is not well-formed UTF-8`)
}

function checkWildcard(
  bytes: Buffer,
  start: number,
  end: number,
  at: number,
  kind: TextKind,
  what: string,
): void {
  if (kind === 'text') return
  if (kind === 'topic') throw new PacketError('topic', `${what} holds a wildcard`)
  const isLast = at === end - 1
  const isLevel = (at === start || bytes[at - 1] === slash) && (isLast || bytes[at + 1] === slash)
  if (!isLevel) throw new PacketError('filter', `a wildcard is only a part of a level of ${what}`)
  if (bytes[at] === hash && !isLast) throw new PacketError('filter', `# is not the last level of ${what}`)
}

/** Reads the fields of a packet that is there whole, one after the other. */
export class Fields {
  readonly bytes: Buffer
  readonly #end: number
  readonly #of: string
  #at: number

  /** `of` names the packet, for whoever reads what is wrong with it. */
  constructor(bytes: Buffer, start: number, end: number, of: string) {
    this.bytes = bytes
    this.#at = start
    this.#end = end
    this.#of = of
  }

  get isAtEnd(): boolean {
    return this.#at === this.#end
  }

  byte(what: string): number {
    return this.bytes[this.#skip(1, what)] as number
  }

  number(what: string): number {
    return this.bytes.readUInt16BE(this.#skip(2, what))
  }

  /** Never 0. @throws PacketError */
  packetId(): number {
    const id = this.number('packet ID')
    if (id === 0) throw new PacketError('packet-id', `${this.#of} with the packet ID 0`)
    return id
  }

  /** Bytes behind a length of two bytes: where they begin and end. */
  binary(what: string): readonly [start: number, end: number] {
    const length = this.number(what)
    const start = this.#skip(length, what)
    return [start, start + length]
  }

  text(what: string, kind: TextKind = 'text'): string {
    const [start, end] = this.binary(what)
    checkText(this.bytes, start, end, kind, `the ${what} of ${this.#of}`)
    return this.bytes.toString('utf8', start, end)
  }

  /** @throws PacketError */
  end(): void {
    if (!this.isAtEnd)
      throw new PacketError(
        'trailing',
        `${this.#of} with ${this.#end - this.#at} bytes behind its last field`,
      )
  }

  /** Where it was before. */
  #skip(length: number, what: string): number {
    const at = this.#at
    if (at + length > this.#end) throw new PacketError('truncated', `${this.#of} ends within its ${what}`)
    this.#at += length
    return at
  }
}
