import type { PayloadFormat } from '../../../src/contract/event.ts'
import { messageOf } from '../../../src/errors.ts'
import { Building } from './building.ts'
import { ByteReader } from './bytes.ts'
import { type Decode, type DecodeBounds, DecodeFault, type Decoded, malformed } from './decode.ts'

/** Reads a value and goes on behind it. */
export type Read = (reader: ByteReader, building: Building) => unknown

/**
 * The way of every format: one value, and nothing behind it. Whatever is wrong is a fault of this payload alone: a decoder that
 * failed would have its device send the same again for ever.
 */
export function decoding(format: PayloadFormat, bounds: DecodeBounds, read: Read): Decode {
  const decode = (payload: Buffer): Decoded => {
    const reader = new ByteReader(payload)
    const building = new Building(bounds)
    try {
      const value = read(reader, building)
      if (reader.left > 0) throw malformed(`${reader.left} bytes are left over behind the value`)
      return { ok: true, format, value, skippedBytes: building.skippedBytes }
    } catch (error) {
      if (error instanceof DecodeFault) return refused(error.reason, error.message)
      return refused('MALFORMED_PAYLOAD', `the decoder failed: ${messageOf(error)}`)
    }
  }
  const refused = (reason: DecodeFault['reason'], detail: string): Decoded => ({
    ok: false,
    fault: { reason, detail: `${format}: ${detail}` },
  })
  return Object.assign(decode, { format })
}
