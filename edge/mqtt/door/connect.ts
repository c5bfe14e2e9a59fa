import type { Fields } from './fields.ts'
import { PacketError } from './violations.ts'

/** What the door has to know of a CONNECT; the broker reads it again. */
export interface ConnectHead {
  /** 3 or 4, MQTT 3.1 or 3.1.1; any other is to be answered with CONNACK 1 [MQTT-3.1.2-2]. */
  level: number
  userName?: string
  /** A part of what was read: to be used, and not kept. */
  password?: Buffer
}

const reservedFlag = 0x01
const willFlag = 0x04
const willRetain = 0x20
const passwordFlag = 0x40
const userNameFlag = 0x80

/**
 * @throws PacketError it is none of MQTT 3.1.1 (3.1) or 3.1. Of another level nothing more is looked at: its fields are
 * other ones.
 */
export function checkConnect(fields: Fields): ConnectHead {
  const name = fields.text('protocol name')
  if (name !== 'MQTT' && name !== 'MQIsdp')
    throw new PacketError('protocol-name', 'a CONNECT of another protocol')
  // A bridge sets the highest bit.
  const level = fields.byte('protocol level') & 0x7f
  if (level !== 3 && level !== 4) return { level }
  const flags = fields.byte('flags')
  checkFlags(flags)
  fields.number('keep alive')
  fields.text('client ID')
  if (flags & willFlag) {
    fields.text('will topic')
    fields.binary('will message')
  }
  const head: ConnectHead = { level }
  if (flags & userNameFlag) head.userName = fields.text('user name')
  if (flags & passwordFlag) head.password = fields.bytes.subarray(...fields.binary('password'))
  fields.end()
  return head
}

function checkFlags(flags: number): void {
  const willQos = (flags >> 3) & 3
  if (flags & reservedFlag) throw new PacketError('connect-flags', 'a CONNECT with its reserved flag set')
  if (!(flags & willFlag) && (willQos > 0 || flags & willRetain))
    throw new PacketError('will', 'a CONNECT with the QoS or the retain flag of a will that it has not')
  if (willQos === 3) throw new PacketError('will-qos', 'a CONNECT with a will of QoS 3')
  if (flags & passwordFlag && !(flags & userNameFlag))
    throw new PacketError('password', 'a CONNECT with a password and without a user name')
}
