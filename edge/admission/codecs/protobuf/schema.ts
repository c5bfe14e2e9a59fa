import type { ProtobufScalar } from './scalars.ts'

/** A message as it is read. */
export interface ProtobufMessage {
  fullName: string
  byNumber: ReadonlyMap<number, ProtobufField>
  /** Fields that are in the JSON whether they were sent or not, and those that have to be sent; in the order of the file. */
  always: readonly ProtobufField[]
}

export interface ProtobufField {
  /** Its place among the fields. */
  index: number
  number: number
  /** As in JSON. */
  name: string
  type: ProtobufType
  label: 'single' | 'repeated' | 'map'
  /** Of a map. */
  keyType?: ProtobufScalar
  /** A message that is written as a group, and not with its length. */
  isGroup: boolean
  /** Absent is something else than zero: what is not there is not in the JSON either. */
  hasPresence: boolean
  isRequired: boolean
  /** Of its fields the last one counts. */
  oneof?: string
}

export type ProtobufType =
  | { kind: 'scalar'; scalar: ProtobufScalar }
  | { kind: 'enum'; names: ReadonlyMap<number, string>; first: number }
  | { kind: 'message'; message: ProtobufMessage }
