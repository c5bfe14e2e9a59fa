import { existsSync, readFileSync, statSync } from 'node:fs'
import { basename, dirname, isAbsolute, join } from 'node:path'
import { messageOf, TidegateError } from '../../../src/errors.ts'
import { avroBinaryDecoder, avroSingleObjectDecoder } from './avro/binary.ts'
import { fingerprintOf, readingForm } from './avro/fingerprint.ts'
import { type AvroSchema, parseAvroSchema } from './avro/schema.ts'
import { cborDecoder } from './cbor.ts'
import type { Decode, DecodeBounds } from './decode.ts'
import { messagePackDecoder } from './messagepack.ts'
import { pathOf } from './paths.ts'
import { importsOf, messageIn, type ProtoFile } from './protobuf/files-protobufjs.ts'
import { protobufDecoder } from './protobuf/message.ts'
import { faultOfPath } from './protobuf/paths.ts'
import { filesOf, type PayloadSettings } from './settings.ts'

const fileBytesMax = 1 << 20
const filesMax = 100

/**
 * What reads the payloads of each route that names a format, with the schema files that it names.
 * @throws TidegateError `PAYLOAD_SCHEMA`, naming everything that is wrong with them.
 */
export function loadDecoders<R extends PayloadSettings>(
  routes: readonly R[],
  bounds: DecodeBounds,
): ReadonlyMap<R, Decode> {
  const decoders = new Map<R, Decode>()
  const faults: string[] = []
  for (const [index, route] of routes.entries()) {
    try {
      const decode = load(route, bounds)
      if (decode) decoders.set(route, decode)
    } catch (error) {
      const several = error instanceof AggregateError ? (error.errors as unknown[]) : [error]
      const keyOf = (one: unknown): string => (one instanceof KeyFault ? one.key : 'schema')
      faults.push(...several.map((one) => `routes[${index}].${keyOf(one)}: ${messageOf(one)}`))
    }
  }
  if (faults.length === 0) return decoders
  throw new TidegateError('PAYLOAD_SCHEMA', {
    message: `there are schemas of payloads that cannot be used:\n${faults.map((one) => `  ${one}`).join('\n')}`,
    retryable: false,
    hint: 'a route names the file of an Avro schema (JSON), or a .proto file and a message of it; see docs/FORMATS.md',
  })
}

/** What is wrong is not the schema, but what another key says of it. */
class KeyFault extends Error {
  readonly key: keyof PayloadSettings

  constructor(key: keyof PayloadSettings, message: string) {
    super(message)
    this.name = 'KeyFault'
    this.key = key
  }
}

function load(route: PayloadSettings, bounds: DecodeBounds): Decode | undefined {
  switch (route.format) {
    case 'cbor':
      return cborDecoder(bounds)
    case 'messagepack':
      return messagePackDecoder(bounds)
    case 'protobuf':
      return loadProtobuf(route, bounds)
    case 'avro':
      return loadAvro(route, bounds)
    default:
      return undefined
  }
}

function loadProtobuf(route: PayloadSettings, bounds: DecodeBounds): Decode {
  const [file = ''] = filesOf(route.schema)
  const message = messageIn(protoFiles(file), route.message ?? '')
  const faults: Error[] = []
  for (const key of ['idFrom', 'timeFrom'] as const) {
    const path = pathOf(route[key])
    const fault = path && faultOfPath(message, path)
    if (fault !== undefined) faults.push(new KeyFault(key, fault))
  }
  if (faults.length > 0) throw new AggregateError(faults)
  return protobufDecoder(message, bounds, route)
}

function loadAvro({ schema, encoding }: PayloadSettings, bounds: DecodeBounds): Decode {
  const files = all(filesOf(schema), (file) => ({
    file,
    schema: parseAvroSchema(JSON.parse(readText(file))),
  }))
  const schemas = files.map((one) => one.schema)
  const [only] = schemas
  if (encoding === 'binary' && only) return avroBinaryDecoder(only, bounds)
  refuseAmbiguous(files)
  return avroSingleObjectDecoder(schemas, bounds)
}

/** A payload says the fingerprint of its schema, which does not cover logical types: of two that differ in those it says neither. */
function refuseAmbiguous(files: readonly { file: string; schema: AvroSchema }[]): void {
  const before = new Map<string, { file: string; form: string }>()
  for (const { file, schema } of files) {
    const fingerprint = fingerprintOf(schema).toString('hex')
    const [form, other] = [readingForm(schema), before.get(fingerprint)]
    if (other && other.form !== form)
      throw new Error(
        `${other.file} and ${file} have one fingerprint, ${fingerprint}, and are read differently: it does not cover logical types and scale, so that nothing says which of the two a payload is of; give them routes of their own, or the newer another name`,
      )
    before.set(fingerprint, { file, form })
  }
}

/** @throws AggregateError with what is wrong with each of the files. */
function all<T>(files: readonly string[], read: (file: string) => T): T[] {
  const faults: Error[] = []
  const values = files.flatMap((file) => {
    try {
      return [read(file)]
    } catch (error) {
      faults.push(new Error(`${file}: ${messageOf(error)}`, { cause: error }))
      return []
    }
  })
  if (faults.length > 0) throw new AggregateError(faults)
  return values
}

/** A .proto file with what it imports, at whatever remove. */
function protoFiles(file: string): ProtoFile[] {
  const found = new Map<string, ProtoFile>()
  const wanted = [{ name: basename(file), path: file }]
  for (const { name, path } of wanted) {
    if (found.has(path)) continue
    if (found.size >= filesMax) throw new Error(`${file}: it imports more than ${filesMax} files`)
    const [one] = all([path], () => ({ name, text: readText(path) }))
    if (!one) continue
    found.set(path, one)
    for (const imported of importsOf(one)) wanted.push({ name: imported, path: pathOfImport(file, imported) })
  }
  return [...found.values()]
}

/**
 * Imports are relative to a root that protoc is told (-I), and that is mostly a folder above the file's: it is the folder of the route's
 * file, or the nearest above it that has the import.
 */
function pathOfImport(file: string, name: string): string {
  const folder = dirname(file)
  if (isAbsolute(name) || name.split('/').includes('..'))
    throw new Error(`${file}: ${name} is imported, and not below ${folder}`)
  for (let root = folder; ; root = dirname(root)) {
    const path = join(root, name)
    if (existsSync(path)) return path
    if (root === dirname(root)) break
  }
  throw new Error(`${file}: ${name} is imported, and is neither in ${folder} nor in a folder above it`)
}

function readText(file: string): string {
  const stat = statSync(file)
  if (!stat.isFile()) throw new Error('it is no file')
  if (stat.size > fileBytesMax) throw new Error(`it has more than ${fileBytesMax} bytes`)
  return readFileSync(file, 'utf8')
}
