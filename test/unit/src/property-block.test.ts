import { describe, expect, test } from 'vitest'
import { faultOfProperties, nestingMax, publishedAgain, shortText } from '../../../src/amqp/property-block.ts'

const long = (content: Buffer): Buffer => {
  const length = Buffer.alloc(4)
  length.writeUInt32BE(content.length)
  return Buffer.concat([length, content])
}
const entry = (name: string, type: string, value: Buffer): Buffer =>
  Buffer.concat([Buffer.from([name.length]), Buffer.from(name + type), value])
const headers = (...entries: Buffer[]): Buffer =>
  Buffer.concat([Buffer.from([0x20, 0x00]), long(Buffer.concat(entries))])

/** Properties of the second byte of bits. */
const texts = (bits: number, ...values: string[]): Buffer =>
  Buffer.concat([Buffer.from([0, bits]), ...values.map((value) => entry(value, '', Buffer.alloc(0)))])

/** Tables within tables, that of the headers included. */
function tables(depth: number): Buffer {
  let content: Buffer = Buffer.alloc(0)
  for (let level = 1; level < depth; level++) content = entry('n', 'F', long(content))
  return headers(content)
}

const again = (block: Buffer, user: string | undefined): Buffer =>
  publishedAgain(block, { user, header: 'first' })

describe('the properties of a message', () => {
  test('of every kind can be read', () => {
    const ten = Array.from({ length: 10 }, (_, index) =>
      Buffer.concat([Buffer.from([1]), Buffer.from(`${index}`)]),
    )
    const [type, encoding, ...rest] = ten as [Buffer, Buffer, ...Buffer[]]
    const values = [
      entry('a', 'S', long(Buffer.from('text'))),
      entry('b', 't', Buffer.from([1])),
      entry('c', 'd', Buffer.alloc(8)),
      entry('d', 'V', Buffer.alloc(0)),
      entry('e', 'A', long(Buffer.from('I\0\0\0\x01t\x01', 'latin1'))),
      entry('f', 'F', long(entry('g', 'D', Buffer.alloc(5)))),
    ]
    const block = Buffer.concat([
      Buffer.from([0xff, 0xfc]),
      type,
      encoding,
      long(Buffer.concat(values)),
      Buffer.from([2, 9]),
      ...rest.slice(0, 4),
      Buffer.alloc(8, 255),
      ...rest.slice(4, 8),
    ])
    expect(faultOfProperties(block)).toBeUndefined()
    expect(faultOfProperties(Buffer.from([0, 0]))).toBeUndefined()
  })

  // RabbitMQ's errata, section 3.
  test.each(Object.entries({ V: 0, t: 1, b: 1, B: 1, s: 2, u: 2, I: 4, i: 4, f: 4, D: 5, l: 8, T: 8, d: 8 }))(
    'a header of type %s has a value of %i bytes, and no other',
    (type, bytes) => {
      const read = [bytes - 1, bytes, bytes + 1].filter(
        (size) => size >= 0 && faultOfProperties(headers(entry('a', type, Buffer.alloc(size)))) === undefined,
      )
      expect(read).toEqual([bytes])
    },
  )

  test('that nest too deep are not read, however deep, and those that do not are', () => {
    expect(faultOfProperties(tables(nestingMax))).toBeUndefined()
    expect(faultOfProperties(tables(nestingMax + 1))).toMatch(/nested/)
    expect(faultOfProperties(tables(2_000))).toMatch(/nested/)
  })

  test.each([
    ['a table longer than what it lies in', Buffer.from([0x20, 0x00, 0, 0, 0, 9, 1])],
    ['a value behind the end of its table', headers(entry('a', 'S', Buffer.from([0, 0, 1, 0])))],
    ['a length of 4 GiB', headers(entry('a', 'S', Buffer.from([255, 255, 255, 255])))],
    ['a type that nobody knows', headers(entry('a', 'Z', Buffer.alloc(4)))],
    ['bytes behind the last', Buffer.from([0, 0, 1])],
    ['a property that AMQP does not know', Buffer.from([0, 2])],
    ['more bits that follow', Buffer.from([0, 1])],
    ['none at all', Buffer.from([0])],
  ])('that are not as AMQP has them are told from those that are: %s', (_, block) => {
    expect(faultOfProperties(block)).toBeTypeOf('string')
  })

  test('that are missing are told as such', () => {
    expect(faultOfProperties(Buffer.from([0]))).toBe('there are none')
  })

  test('are the same when it is published again, with another user ID and the first one as a header (G9)', () => {
    const first = (user: string): Buffer => entry('first', 'S', long(Buffer.from(user)))
    const made = (bits: number, entries: Buffer, ...values: string[]): Buffer =>
      Buffer.concat([Buffer.from([0x20, bits]), long(entries), texts(0, ...values).subarray(2)])

    expect(again(texts(0x38, 'type', 'user', 'app'), 'cloud')).toEqual(
      made(0x38, first('user'), 'type', 'cloud', 'app'),
    )
    expect(again(texts(0x28, 'type', 'app'), 'cloud')).toEqual(made(0x38, first(''), 'type', 'cloud', 'app'))
    expect(again(texts(0x10, 'user'), undefined)).toEqual(made(0, first('user')))
    const other = entry('other', 't', Buffer.from([1]))
    const nested = entry('n', 'F', long(entry('first', 'S', long(Buffer.from('inner')))))
    expect(again(headers(nested, first('forged'), other), 'cloud')).toEqual(
      made(0x10, Buffer.concat([nested, other, first('')]), 'cloud'),
    )
  })

  test('a text too long for AMQP ends between two characters', () => {
    expect(shortText('x'.repeat(300))).toHaveLength(255)
    expect(shortText(`${'ä'.repeat(127)}€`)).toBe('ä'.repeat(127))
  })
})
