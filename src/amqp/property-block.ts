/**
 * The properties of a message as they stand in a content header frame: two bytes that say which of them there are, then their
 * values (AMQP 0-9-1, 2.3.5.2; types of field values by RabbitMQ's errata, https://www.rabbitmq.com/amqp-0-9-1-errata#section_3).
 * Whoever may publish writes them, and a broker passes on what it takes.
 */

/** Tables and arrays within one another; RabbitMQ's own headers (`x-death`) nest three deep. */
export const nestingMax = 16

/** Which property has which form, in their order, from the highest bit on. */
const forms = [
  'text',
  'text',
  'table',
  'byte',
  'byte',
  'text',
  'text',
  'text',
  'text',
  'timestamp',
  'text',
  'text',
  'text',
  'text',
] as const
const headersIndex = 2
const userIdIndex = 11
/** The two lowest bits: one that no property has, and one that says that more bits follow, which AMQP has no use for. */
const unknownBits = 0b11

/** Bytes of a field value by its type; those of which the length stands in front of them are not here. */
const fixedBytes: ReadonlyMap<string, number> = new Map(
  Object.entries({ V: 0, t: 1, b: 1, B: 1, s: 2, u: 2, I: 4, i: 4, f: 4, D: 5, l: 8, T: 8, d: 8 }),
)

/**
 * What keeps a reader that trusts these bytes from reading them: a length that leads out of what it lies in, a type that nobody
 * knows, or nesting on which one that calls itself would run out of stack. Undefined if nothing does. Never throws.
 */
export function faultOfProperties(block: Buffer): string | undefined {
  try {
    new Walk(block).properties()
    return undefined
  } catch (error) {
    if (error instanceof Fault) return error.message
    throw error
  }
}

/**
 * The same for a message that `user` publishes again, since RabbitMQ takes a user ID from that user alone: with another user ID, and
 * with the one that it had, or an empty text, as a header, the only one of that name. @throws what keeps them from being read.
 */
export function publishedAgain(
  block: Buffer,
  { user, header }: { user: string | undefined; header: string },
): Buffer {
  const values = new Map<number, Buffer>()
  const entries: Buffer[] = []
  new Walk(block).properties(
    (index, from, to) => values.set(index, block.subarray(from, to)),
    (name, from, to) => {
      if (name !== header) entries.push(block.subarray(from, to))
    },
  )
  const first = values.get(userIdIndex)?.subarray(1) ?? nothing
  const entry = Buffer.concat([shortBytes(Buffer.from(header)), Buffer.from('S'), longBytes(first)])
  values.set(headersIndex, longBytes(...entries, entry))
  if (user === undefined) values.delete(userIdIndex)
  else values.set(userIdIndex, shortBytes(Buffer.from(user)))
  const there = Buffer.alloc(2)
  there.writeUInt16BE([...values.keys()].reduce((bits, index) => bits | bitOf(index), 0))
  const inOrder = [...values].toSorted(([one], [other]) => one - other)
  return Buffer.concat([there, ...inOrder.map(([, value]) => value)])
}

/**
 * The same without the headers of these names; undefined if it cannot be read. A broker may write its own into a message each time
 * that it delivers it.
 */
export function withoutHeaders(block: Buffer, isLeftOut: (name: string) => boolean): Buffer | undefined {
  const values: Buffer[] = []
  const entries: Buffer[] = []
  let there = 0
  try {
    new Walk(block).properties(
      (index, from, to) => {
        if (index === headersIndex && entries.length === 0) return
        there |= bitOf(index)
        values.push(index === headersIndex ? longBytes(...entries) : block.subarray(from, to))
      },
      (name, from, to) => {
        if (!isLeftOut(name)) entries.push(block.subarray(from, to))
      },
    )
  } catch (error) {
    if (error instanceof Fault) return undefined
    throw error
  }
  const flags = Buffer.alloc(2)
  flags.writeUInt16BE(there)
  return Buffer.concat([flags, ...values])
}

const nothing = Buffer.alloc(0)

function shortBytes(text: Buffer): Buffer {
  return Buffer.concat([Buffer.from([text.length]), text])
}

function longBytes(...parts: Buffer[]): Buffer {
  const length = Buffer.alloc(4)
  length.writeUInt32BE(parts.reduce((sum, part) => sum + part.length, 0))
  return Buffer.concat([length, ...parts])
}

function bitOf(index: number): number {
  return 0x8000 >> index
}

class Fault extends Error {}

class Walk {
  readonly #bytes: Buffer
  #at = 0
  /** Where each table and array that is being read ends, the innermost last; the block itself is the first. */
  readonly #ends: { end: number; named: boolean }[]

  constructor(bytes: Buffer) {
    this.#bytes = bytes
    this.#ends = [{ end: bytes.length, named: false }]
  }

  properties(
    tell?: (index: number, from: number, to: number) => void,
    tellHeader?: (name: string, from: number, to: number) => void,
  ): void {
    if (this.#bytes.length < 2) throw new Fault('there are none')
    const there = this.#bytes.readUInt16BE(this.#take(2))
    if (there & unknownBits) throw new Fault('there are properties that AMQP does not know')
    for (let index = 0; index < forms.length; index++) {
      if (!(there & bitOf(index))) continue
      const from = this.#at
      const form = forms[index]
      if (form === 'text') this.#text()
      else if (form === 'table') this.#table(tellHeader)
      else this.#take(form === 'byte' ? 1 : 8)
      tell?.(index, from, this.#at)
    }
    if (this.#at < this.#bytes.length) throw new Fault('there are bytes behind the properties')
  }

  /** Goes on until everything in it has been read, however deep. */
  #table(tell?: (name: string, from: number, to: number) => void): void {
    const depth = this.#ends.length
    this.#enter(true)
    while (this.#ends.length > depth) {
      const { end, named } = this.#innermost
      if (this.#at === end) this.#ends.pop()
      else {
        const isOwn = this.#ends.length === depth + 1
        const from = this.#at
        const name = named ? this.#text() : ''
        this.#value()
        if (isOwn) tell?.(name, from, this.#ends.length > depth + 1 ? this.#innermost.end : this.#at)
      }
    }
  }

  #value(): void {
    const type = String.fromCharCode(this.#bytes.readUInt8(this.#take(1)))
    if (type === 'F' || type === 'A') return this.#enter(type === 'F')
    if (type === 'S' || type === 'x') return void this.#take(this.#length())
    const bytes = fixedBytes.get(type)
    if (bytes === undefined) throw new Fault(`a header has a type that nobody knows: ${type.charCodeAt(0)}`)
    this.#take(bytes)
  }

  #enter(named: boolean): void {
    const length = this.#length()
    if (this.#ends.length > nestingMax) throw new Fault(`headers are nested more than ${nestingMax} deep`)
    this.#fits(length)
    this.#ends.push({ end: this.#at + length, named })
  }

  #text(): string {
    const length = this.#bytes.readUInt8(this.#take(1))
    const from = this.#take(length)
    return this.#bytes.toString('utf8', from, from + length)
  }

  #length(): number {
    return this.#bytes.readUInt32BE(this.#take(4))
  }

  /** @returns where they begin. */
  #take(bytes: number): number {
    this.#fits(bytes)
    this.#at += bytes
    return this.#at - bytes
  }

  #fits(bytes: number): void {
    if (this.#at + bytes > this.#innermost.end) throw new Fault('a length leads out of what it lies in')
  }

  get #innermost(): { end: number; named: boolean } {
    return this.#ends.at(-1) as { end: number; named: boolean }
  }
}

/**
 * A text as AMQP's short strings hold it, which end at 255 bytes; the client would end them within a character, and fill up
 * with what is in memory.
 */
export function shortText(text: string): string {
  if (text.length <= 63 || Buffer.byteLength(text) <= 255) return text
  return new TextDecoder().decode(Buffer.from(text).subarray(0, 255), { stream: true })
}
