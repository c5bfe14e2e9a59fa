import { readFileSync, statSync } from 'node:fs'
import { basename, dirname, isAbsolute, join } from 'node:path'
import { messageOf, TidegateError } from '../../../src/errors.ts'
import { avroBinaryDecoder, avroSingleObjectDecoder } from './avro/binary.ts'
import { parseAvroSchema } from './avro/schema.ts'
import { cborDecoder } from './cbor.ts'
import type { Decode, DecodeBounds } from './decode.ts'
import { messagePackDecoder } from './messagepack.ts'
import { importsOf, messageIn, type ProtoFile } from './protobuf/files-protobufjs.ts'
import { protobufDecoder } from './protobuf/message.ts'
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
      faults.push(...several.map((one) => `routes[${index}].schema: ${messageOf(one)}`))
    }
  }
  if (faults.length === 0) return decoders
  throw new TidegateError('PAYLOAD_SCHEMA', {
    message: `there are schemas of payloads that cannot be used:\n${faults.map((one) => `  ${one}`).join('\n')}`,
    retryable: false,
    hint: 'a route names the file of an Avro schema (JSON), or a .proto file and a message of it; see docs/FORMATS.md',
  })
}

function load(
  { format, schema, message = '', encoding }: PayloadSettings,
  bounds: DecodeBounds,
): Decode | undefined {
  const files = filesOf(schema)
  switch (format) {
    case 'cbor':
      return cborDecoder(bounds)
    case 'messagepack':
      return messagePackDecoder(bounds)
    case 'protobuf':
      return protobufDecoder(messageIn(protoFiles(files[0] ?? ''), message), bounds)
    case 'avro': {
      const schemas = all(files, (file) => parseAvroSchema(JSON.parse(readText(file))))
      const [only] = schemas
      return encoding === 'binary' && only
        ? avroBinaryDecoder(only, bounds)
        : avroSingleObjectDecoder(schemas, bounds)
    }
    default:
      return undefined
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

/** A .proto file with what it imports, at whatever remove, from its own folder. */
function protoFiles(file: string): ProtoFile[] {
  const folder = dirname(file)
  const found = new Map<string, ProtoFile>()
  const wanted = [basename(file)]
  for (const name of wanted) {
    if (found.has(name)) continue
    if (found.size >= filesMax) throw new Error(`${file}: it imports more than ${filesMax} files`)
    if (isAbsolute(name) || name.split('/').includes('..'))
      throw new Error(`${file}: ${name} is imported, and not below ${folder}`)
    const [one] = all([join(folder, name)], (path) => ({ name, text: readText(path) }))
    if (!one) continue
    found.set(name, one)
    wanted.push(...importsOf(one))
  }
  return [...found.values()]
}

function readText(file: string): string {
  const stat = statSync(file)
  if (!stat.isFile()) throw new Error('it is no file')
  if (stat.size > fileBytesMax) throw new Error(`it has more than ${fileBytesMax} bytes`)
  return readFileSync(file, 'utf8')
}
