/**
 * Avro schemas (avro.apache.org/docs/1.12.0/specification) as they are written by devices: names resolved, defaults, aliases and
 * documentation left out, since data is always read with the schema it was written with.
 */
export type AvroSchema = AvroPrimitive | AvroArray | AvroMap | AvroUnion | AvroNamed

export const avroPrimitives = [
  'null',
  'boolean',
  'int',
  'long',
  'float',
  'double',
  'bytes',
  'string',
] as const

export interface AvroPrimitive extends Logical {
  kind: (typeof avroPrimitives)[number]
}
export interface AvroArray {
  kind: 'array'
  items: AvroSchema
}
export interface AvroMap {
  kind: 'map'
  values: AvroSchema
}
export interface AvroUnion {
  kind: 'union'
  branches: AvroSchema[]
}
export interface AvroRecord {
  kind: 'record'
  name: string
  fields: { name: string; type: AvroSchema }[]
}
export interface AvroEnum {
  kind: 'enum'
  name: string
  symbols: string[]
}
export interface AvroFixed extends Logical {
  kind: 'fixed'
  name: string
  size: number
}
/** One of them stands in several places: in all but the first the schema has its name alone. */
export type AvroNamed = AvroRecord | AvroEnum | AvroFixed

/** What the bytes mean; a logical type that does not fit them is as if it were not there (specification, "Logical Types"). */
interface Logical {
  logicalType?: string
  /** Of a decimal: digits behind the point. */
  scale?: number
}

/** `path`: the place in the schema. */
export class AvroSchemaFault extends Error {
  constructor(path: string, message: string) {
    super(`${path === '' ? '' : `${path}: `}${message}`)
    this.name = 'AvroSchemaFault'
  }
}

const depthMax = 64
const fixedBytesMax = 1 << 20
const namePattern = /^[A-Za-z_]\w*$/
const fullNamePattern = /^[A-Za-z_]\w*(\.[A-Za-z_]\w*)*$/

/** @throws AvroSchemaFault it is no schema. */
export function parseAvroSchema(json: unknown): AvroSchema {
  return new Parsing().schema(json, '', '')
}

type Json = Record<string, unknown>

class Parsing {
  readonly #named = new Map<string, AvroNamed>()
  #depth = 0

  schema(json: unknown, namespace: string, path: string): AvroSchema {
    if (typeof json === 'string') return this.#byName(json, namespace, path)
    if (typeof json !== 'object' || json === null)
      throw new AvroSchemaFault(path, 'a schema is a name, an object or an array of schemas')
    this.#depth += 1
    if (this.#depth > depthMax)
      throw new AvroSchemaFault(path, `schemas are nested more than ${depthMax} deep`)
    const schema = Array.isArray(json)
      ? this.#union(json, namespace, path)
      : this.#object(json as Json, namespace, path)
    this.#depth -= 1
    return schema
  }

  #byName(name: string, namespace: string, path: string): AvroSchema {
    const primitive = avroPrimitives.find((one) => one === name)
    if (primitive) return { kind: primitive }
    const known = this.#named.get(fullNameOf(name, namespace)) ?? this.#named.get(name)
    if (!known) throw new AvroSchemaFault(path, `there is no type ${name.slice(0, 100)} before this place`)
    return known
  }

  #union(json: readonly unknown[], namespace: string, path: string): AvroUnion {
    const branches = json.map((one, index) => this.schema(one, namespace, `${path}[${index}]`))
    const kinds = branches.map((one) => ('name' in one ? one.name : one.kind))
    if (kinds.includes('union')) throw new AvroSchemaFault(path, 'a union may not hold a union')
    const twice = kinds.find((kind, index) => kinds.indexOf(kind) !== index)
    if (twice !== undefined) throw new AvroSchemaFault(path, `a union may not hold ${twice} twice`)
    return { kind: 'union', branches }
  }

  #object(json: Json, namespace: string, path: string): AvroSchema {
    const { type } = json
    switch (type) {
      case 'record':
      case 'error':
        return this.#record(json, namespace, path)
      case 'enum':
        return this.#enum(json, namespace, path)
      case 'fixed':
        return this.#fixed(json, namespace, path)
      case 'array':
        return { kind: 'array', items: this.schema(json['items'], namespace, `${path}.items`) }
      case 'map':
        return { kind: 'map', values: this.schema(json['values'], namespace, `${path}.values`) }
      default: {
        const schema = this.schema(type, namespace, path)
        const isPrimitive = typeof type === 'string' && !('name' in schema)
        return isPrimitive ? { ...schema, ...logicalOf(json) } : schema
      }
    }
  }

  #record(json: Json, namespace: string, path: string): AvroRecord {
    const name = this.#nameOf(json, namespace, path)
    const record: AvroRecord = { kind: 'record', name, fields: [] }
    this.#define(record, path)
    const { fields } = json
    if (!Array.isArray(fields)) throw new AvroSchemaFault(path, `${name} has no array of fields`)
    for (const [index, field] of (fields as unknown[]).entries()) {
      const { name: fieldName, type } = (field ?? {}) as Json
      if (typeof fieldName !== 'string' || !namePattern.test(fieldName))
        throw new AvroSchemaFault(`${path}.fields[${index}]`, 'a field has no name of letters, digits and _')
      if (record.fields.some((one) => one.name === fieldName))
        throw new AvroSchemaFault(path, `${name} has the field ${fieldName} twice`)
      const inner = this.schema(type, namespaceOf(name), `${path}.${fieldName}`)
      record.fields.push({ name: fieldName, type: inner })
    }
    return record
  }

  #enum(json: Json, namespace: string, path: string): AvroEnum {
    const { symbols } = json
    if (!Array.isArray(symbols) || !symbols.every(isSymbol) || new Set(symbols).size !== symbols.length)
      throw new AvroSchemaFault(path, 'an enum has symbols of letters, digits and _, each once')
    const made: AvroEnum = { kind: 'enum', name: this.#nameOf(json, namespace, path), symbols }
    this.#define(made, path)
    return made
  }

  #fixed(json: Json, namespace: string, path: string): AvroFixed {
    const { size } = json
    if (!Number.isInteger(size) || Number(size) < 0 || Number(size) > fixedBytesMax)
      throw new AvroSchemaFault(path, `a fixed has a size from 0 to ${fixedBytesMax} bytes`)
    const name = this.#nameOf(json, namespace, path)
    const made: AvroFixed = { kind: 'fixed', name, size: Number(size), ...logicalOf(json) }
    this.#define(made, path)
    return made
  }

  #nameOf({ name, namespace }: Json, enclosing: string, path: string): string {
    const full = fullNameOf(String(name), typeof namespace === 'string' ? namespace : enclosing)
    if (typeof name !== 'string' || !fullNamePattern.test(full))
      throw new AvroSchemaFault(path, 'a record, enum or fixed has a name of letters, digits and _')
    return full
  }

  #define(named: AvroNamed, path: string): void {
    if (this.#named.has(named.name)) throw new AvroSchemaFault(path, `${named.name} is there twice`)
    this.#named.set(named.name, named)
  }
}

function isSymbol(one: unknown): one is string {
  return typeof one === 'string' && namePattern.test(one)
}

function fullNameOf(name: string, namespace: string): string {
  return namespace === '' || name.includes('.') ? name : `${namespace}.${name}`
}

function namespaceOf(fullName: string): string {
  return fullName.split('.').slice(0, -1).join('.')
}

function logicalOf({ logicalType, precision, scale = 0 }: Json): Logical {
  if (typeof logicalType !== 'string') return {}
  if (logicalType !== 'decimal') return { logicalType }
  const isSound =
    [precision, scale].every(Number.isInteger) && Number(scale) >= 0 && Number(precision) >= Number(scale)
  return isSound && Number(precision) > 0 ? { logicalType, scale: Number(scale) } : {}
}
