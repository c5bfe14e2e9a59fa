import { type PayloadFormat, payloadFormats } from '../../../src/contract/event.ts'

/** How devices may write what they send. `json` is what a route has that names none. */
export const formats = ['json', ...payloadFormats] as const

export type Format = (typeof formats)[number]

/** Deeper values are refused: serialisers recurse, and no reading needs it. */
export const depthMax = 32
/** More objects and arrays are refused: `{}` is two bytes on the wire, and thirty times as much to whoever reads it (G7). */
export const containersMax = 10_000

export interface DecodeBounds {
  /** What is read may be so long as JSON: few bytes can stand for much, such as the names of a schema's fields (G7). */
  textBytesMax: number
}

/** Why a payload cannot be read; they are among the reasons of a rejected event. */
export type DecodeReason =
  | 'PAYLOAD_TOO_LARGE'
  | 'NOT_UTF8'
  | 'MALFORMED_PAYLOAD'
  | 'WRITER_SCHEMA_UNKNOWN'
  | 'TOO_DEEP'
  | 'TOO_MANY_VALUES'
  | 'NUMBER_OUT_OF_RANGE'
  | 'UNSTORABLE_TEXT'

export type Decoded =
  | {
      ok: true
      format: PayloadFormat
      /** As JSON.parse would have made it of the same in JSON. */
      value: unknown
      /** Bytes of fields that the schema does not know, which are not in the value; 0: none. */
      skippedBytes: number
    }
  | { ok: false; fault: { reason: DecodeReason; detail: string } }

/** Reads a payload in a time and a memory that its length and the bounds set. Never throws. */
export interface Decode {
  (payload: Buffer): Decoded
  readonly format: PayloadFormat
}

/** Ends the reading of a payload. */
export class DecodeFault extends Error {
  readonly reason: DecodeReason

  constructor(reason: DecodeReason, detail: string) {
    super(detail)
    this.name = 'DecodeFault'
    this.reason = reason
  }
}

export function malformed(detail: string): DecodeFault {
  return new DecodeFault('MALFORMED_PAYLOAD', detail)
}
