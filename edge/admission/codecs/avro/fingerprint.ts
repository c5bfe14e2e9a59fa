import { effectiveLogicalType } from './logical.ts'
import type { AvroSchema } from './schema.ts'

/** The Parsing Canonical Form of a schema (Avro specification, "Transforming into Parsing Canonical Form"). */
export function canonicalForm(schema: AvroSchema): string {
  return write(schema, new Set(), false)
}

/** The same with the logical types, which that form leaves out, and with it the fingerprint: schemas of one such form read the same. */
export function readingForm(schema: AvroSchema): string {
  return write(schema, new Set(), true)
}

function write(schema: AvroSchema, written: Set<string>, isReading: boolean): string {
  const logical = isReading ? logicalForm(schema) : ''
  if (!('name' in schema)) return writeUnnamed(schema, written, isReading, logical)
  const name = JSON.stringify(schema.name)
  if (written.has(schema.name)) return name
  written.add(schema.name)
  const start = `{"name":${name},"type":"${schema.kind}",`
  if (schema.kind === 'enum') return `${start}"symbols":${JSON.stringify(schema.symbols)}}`
  if (schema.kind === 'fixed') return `${start}"size":${schema.size}${logical}}`
  const fields = schema.fields.map(
    (one) => `{"name":"${one.name}","type":${write(one.type, written, isReading)}}`,
  )
  return `${start}"fields":[${fields.join(',')}]}`
}

function writeUnnamed(
  schema: Exclude<AvroSchema, { name: string }>,
  written: Set<string>,
  isReading: boolean,
  logical: string,
): string {
  switch (schema.kind) {
    case 'array':
      return `{"type":"array","items":${write(schema.items, written, isReading)}}`
    case 'map':
      return `{"type":"map","values":${write(schema.values, written, isReading)}}`
    case 'union':
      return `[${schema.branches.map((one) => write(one, written, isReading)).join(',')}]`
    default:
      return logical === '' ? `"${schema.kind}"` : `{"type":"${schema.kind}"${logical}}`
  }
}

function logicalForm(schema: AvroSchema): string {
  const logicalType = 'logicalType' in schema ? effectiveLogicalType(schema) : undefined
  return logicalType === undefined ? '' : `,"logicalType":"${logicalType}"`
}

/** "Schema Fingerprints": also the fingerprint of nothing. */
const empty = 0xc15d213aa4d7a795n

const table = Array.from({ length: 256 }, (_, byte) => {
  let value = BigInt(byte)
  for (let bit = 0; bit < 8; bit += 1) value = (value >> 1n) ^ (value & 1n ? empty : 0n)
  return value
})

/** The CRC-64-AVRO of a schema, in the eight bytes of a single-object encoding, the lowest first. */
export function fingerprintOf(schema: AvroSchema): Buffer {
  let value = empty
  for (const byte of Buffer.from(canonicalForm(schema)))
    value = (value >> 8n) ^ (table[Number((value ^ BigInt(byte)) & 0xffn)] as bigint)
  const bytes = Buffer.alloc(8)
  bytes.writeBigUInt64LE(value)
  return bytes
}
