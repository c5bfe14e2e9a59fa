import type { Format } from './decode.ts'

export const avroEncodings = ['single-object', 'binary'] as const

export const unknownFields = ['keep', 'quarantine'] as const
export const emptyMessages = ['quarantine', 'zeros'] as const

/** What becomes of fields that the .proto file does not know, and of a payload that has none of those that it does. */
export interface ProtobufSettings {
  /** Absent: `keep`, as Protobuf has it: without them, and their bytes counted. */
  unknown?: (typeof unknownFields)[number] | undefined
  /** Absent: `quarantine`. `zeros`: a message of zeros, which in proto3 is no bytes. */
  empty?: (typeof emptyMessages)[number] | undefined
}

/** What a route says of the payloads that come by it. */
export interface PayloadSettings extends ProtobufSettings {
  /** Absent: `json`. */
  format?: Format | undefined
  /** The file of an Avro schema, or several; or the .proto file. */
  schema?: string | readonly string[] | undefined
  /** Of Protobuf: the message, with its package. */
  message?: string | undefined
  /** Of Avro. Absent: `single-object`. */
  encoding?: (typeof avroEncodings)[number] | undefined
  /** Where a plain payload holds its event ID: `a.b` or a JSON pointer. */
  idFrom?: string | undefined
  /** Where a plain payload holds its time, in a form that `readTime` knows. */
  timeFrom?: string | undefined
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
  for (const key of ['unknown', 'empty'] as const)
    if (settings[key] !== undefined && format !== 'protobuf')
      fault(key, `is for protobuf, and the format here is ${format}`)
  if (encoding !== undefined && format !== 'avro')
    fault('encoding', `is for avro, and the format here is ${format}`)
  else if (encoding === 'binary' && count > 1)
    fault('schema', 'must be one file with encoding: binary, in which nothing says which of several it is')
  return faults
}

export function filesOf(schema: PayloadSettings['schema']): readonly string[] {
  return typeof schema === 'string' ? [schema] : (schema ?? [])
}
