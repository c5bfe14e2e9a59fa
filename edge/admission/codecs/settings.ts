import type { Format } from './decode.ts'

export const avroEncodings = ['single-object', 'binary'] as const

/** What a route says of the payloads that come by it. */
export interface PayloadSettings {
  /** Absent: `json`. */
  format?: Format | undefined
  /** The file of an Avro schema, or several; or the .proto file. */
  schema?: string | readonly string[] | undefined
  /** Of Protobuf: the message, with its package. */
  message?: string | undefined
  /** Of Avro. Absent: `single-object`. */
  encoding?: (typeof avroEncodings)[number] | undefined
}

/** Faults of these settings, each with the key it belongs to. */
export function payloadFaults(settings: PayloadSettings): { key: keyof PayloadSettings; message: string }[] {
  const { format = 'json', schema, message, encoding } = settings
  const faults: { key: keyof PayloadSettings; message: string }[] = []
  const fault = (key: keyof PayloadSettings, message: string): void => void faults.push({ key, message })
  const count = filesOf(schema).length
  if (format === 'avro' || format === 'protobuf') {
    if (count === 0) fault('schema', `is required for ${format}: the file it was written with`)
  } else if (schema !== undefined)
    fault('schema', `is for avro and protobuf, and the format here is ${format}`)
  if (format === 'protobuf') {
    if (message === undefined)
      fault('message', 'is required for protobuf, with its package: com.acme.Reading')
    if (count > 1) fault('schema', 'must be one .proto file; what it imports is found from there')
  } else if (message !== undefined) fault('message', `is for protobuf, and the format here is ${format}`)
  if (encoding !== undefined && format !== 'avro')
    fault('encoding', `is for avro, and the format here is ${format}`)
  else if (encoding === 'binary' && count > 1)
    fault('schema', 'must be one file with encoding: binary, in which nothing says which of several it is')
  return faults
}

export function filesOf(schema: PayloadSettings['schema']): readonly string[] {
  return typeof schema === 'string' ? [schema] : (schema ?? [])
}
