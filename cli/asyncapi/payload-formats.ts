import { readFileSync } from 'node:fs'
import { basename } from 'node:path'
import { filesOf } from '../../edge/admission/codecs/settings.ts'
import type { Route } from '../../edge/admission/routes/routes.ts'
import type { PayloadFormat } from '../../src/contract/event.ts'
import { type Json, present } from './json.ts'

/** IANA has none for Avro: what AsyncAPI calls its schemas. */
const contentTypes: Readonly<Record<PayloadFormat, string>> = {
  avro: 'application/vnd.apache.avro',
  protobuf: 'application/protobuf',
  cbor: 'application/cbor',
  messagepack: 'application/vnd.msgpack',
}

const titles: Readonly<Record<PayloadFormat, string>> = {
  avro: 'Avro',
  protobuf: 'Protobuf',
  cbor: 'CBOR',
  messagepack: 'MessagePack',
}

export interface FormatMessage {
  contentType: string
  /** How it is written. */
  form: string
  payload?: Json
}

/**
 * What a route takes that names a format: of Avro a message for each schema. Undefined: it takes JSON. The files are those
 * that the gateway reads, which have been read once.
 */
export function formatMessagesOf({
  format = 'json',
  schema,
  message = '',
  encoding,
}: Route): FormatMessage[] | undefined {
  if (format === 'json') return undefined
  const contentType = contentTypes[format]
  const files = filesOf(schema)
  switch (format) {
    case 'avro':
      return files.map((file) => ({
        contentType,
        form:
          encoding === 'binary'
            ? `Avro, the data alone, written with ${basename(file)}`
            : `Avro, single-object encoding, written with ${basename(file)}`,
        payload: {
          schemaFormat: 'application/vnd.apache.avro+json;version=1.9.0',
          schema: JSON.parse(readFileSync(file, 'utf8')) as unknown,
        },
      }))
    case 'protobuf':
      return files.map((file) => {
        const text = readFileSync(file, 'utf8')
        const version = /^\s*syntax\s*=\s*["']proto3/m.test(text) ? '3' : '2'
        return {
          contentType,
          form: `Protobuf, the message ${message} of ${basename(file)}`,
          payload: { schemaFormat: `application/vnd.google.protobuf;version=${version}`, schema: text },
        }
      })
    default:
      return [{ contentType, form: titles[format] }]
  }
}

/** A route as the configuration has it, without the folders of this machine. */
export function routeShown({ schema, ...route }: Route): Json {
  const files = filesOf(schema).map((file) => basename(file))
  return present({ ...route, schema: files.length > 1 ? files : files[0] })
}
