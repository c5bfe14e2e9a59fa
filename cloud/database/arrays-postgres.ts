/**
 * Arrays as PostgreSQL sends and receives them in binary (`array_send`): pg hands a Buffer on as it is. As text, each quote in a value
 * is escaped by us and unescaped by PostgreSQL, and an event has some sixty.
 */

const fieldBytes = 4
const numberBytes = 8
const oids = { bytea: 17, text: 25, bigint: 20, double: 701, uuid: 2950 }
const uuidBytes = 16

/** `text[]`; undefined is null. */
export function textArray<Item>(items: readonly Item[], valueOf: (item: Item) => string | undefined): Buffer {
  const values = items.map(valueOf)
  // No character takes more than three bytes for each of its UTF-16 units.
  const bytesMax = values.reduce((sum, value) => sum + fieldBytes + 3 * (value?.length ?? 0), 0)
  let { array, at } = begin(oids.text, items.length, bytesMax)
  for (const value of values) {
    const length = value === undefined ? -1 : array.write(value, at + fieldBytes)
    at = array.writeInt32BE(length, at) + Math.max(0, length)
  }
  return array.subarray(0, at)
}

/** `bytea[]` */
export function byteaArray<Item>(items: readonly Item[], valueOf: (item: Item) => Buffer): Buffer {
  const bytes = items.reduce((sum, item) => sum + fieldBytes + valueOf(item).length, 0)
  let { array, at } = begin(oids.bytea, items.length, bytes)
  for (const item of items) {
    const value = valueOf(item)
    at = array.writeInt32BE(value.length, at)
    at += value.copy(array, at)
  }
  return array
}

/** `uuid[]`, of the first 16 bytes of each. */
export function uuidArray<Item>(items: readonly Item[], valueOf: (item: Item) => Buffer): Buffer {
  let { array, at } = begin(oids.uuid, items.length, items.length * (fieldBytes + uuidBytes))
  for (const item of items) {
    at = array.writeInt32BE(uuidBytes, at)
    at += valueOf(item).copy(array, at, 0, uuidBytes)
  }
  return array
}

/** `bigint[]` of whole numbers. */
export function bigintArray<Item>(items: readonly Item[], valueOf: (item: Item) => number): Buffer {
  let { array, at } = begin(oids.bigint, items.length, items.length * (fieldBytes + numberBytes))
  for (const item of items)
    at = array.writeBigInt64BE(BigInt(valueOf(item)), array.writeInt32BE(numberBytes, at))
  return array
}

/** `double precision[]` */
export function doubleArray<Item>(items: readonly Item[], valueOf: (item: Item) => number): Buffer {
  let { array, at } = begin(oids.double, items.length, items.length * (fieldBytes + numberBytes))
  for (const item of items) at = array.writeDoubleBE(valueOf(item), array.writeInt32BE(numberBytes, at))
  return array
}

/** One dimension from 1 on, in which nulls are allowed; an empty array has none. */
function begin(oid: number, length: number, bytes: number): { array: Buffer; at: number } {
  const header = length === 0 ? [0, 1, oid] : [1, 1, oid, length, 1]
  const array = Buffer.allocUnsafe(header.length * fieldBytes + bytes)
  let at = 0
  for (const field of header) at = array.writeInt32BE(field, at)
  return { array, at }
}
