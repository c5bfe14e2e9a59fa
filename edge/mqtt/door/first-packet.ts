import { checkConnect, type ConnectHead } from './connect.ts'
import { Fields } from './fields.ts'
import { packetType } from './packet-types.ts'
import { PacketError } from './violations.ts'

const typeByte = packetType.connect << 4
const digitsMax = 4

/**
 * The CONNECT at the beginning of what a connection has sent, for whoever has to know what it claims before the broker is given it; undefined: it is not
 * there whole yet. Its password is a part of `bytes`.
 * @throws PacketError it is none [MQTT-3.1.0-1], none of MQTT 3.1.1 or 3.1, or longer than `bytesMax`
 */
export function firstConnect(bytes: Buffer, bytesMax: number): ConnectHead | undefined {
  if (bytes.length === 0) return undefined
  if (bytes[0] !== typeByte) throw new PacketError('first-packet', 'the first packet is no CONNECT')
  let length = 0
  for (let digit = 0; digit < digitsMax; digit += 1) {
    const byte = bytes[digit + 1]
    if (byte === undefined) return undefined
    length += (byte & 0x7f) * 128 ** digit
    if (byte >= 0x80) continue
    const start = digit + 2
    if (start + length > bytesMax)
      throw new PacketError(
        'too-large',
        `a CONNECT of ${start + length} bytes, and ${bytesMax} are the most with a password`,
      )
    if (bytes.length < start + length) return undefined
    return checkConnect(new Fields(bytes, start, start + length, 'CONNECT'))
  }
  throw new PacketError('length', 'a packet has a length of more than four bytes')
}
