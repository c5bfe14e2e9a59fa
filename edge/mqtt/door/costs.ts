import { isRequest, packetType } from './packet-types.ts'

/**
 * What reading costs the gateway, in the time that a byte of an event takes from the socket to the disk, 0.1 µs on the machine
 * it was measured on. Each byte of a packet costs one, and each packet that much besides. Only ratios matter: a device's turn is measured by it.
 */
export const costOfTaken = 128

/** Of a SUBSCRIBE or an UNSUBSCRIBE, for each of its filters. */
export const costOfFilter = 512

/** Of one message that is sent to a subscriber. */
export const costOfDelivery = 256

/** Of one filter that takes in what is published. */
export const costOfMatch = 24

/** Of the cheapest packet: a PINGREQ, without its bytes. */
export const costOfPacketMin = 64

const retainFlag = 0x01
const qos2Flag = 0x04

/** Of a packet for the broker. */
export function costOfPacket(type: number, flags: number): number {
  if (type === packetType.publish)
    return 512 + (flags & qos2Flag ? 1024 : 0) + (flags & retainFlag ? 1024 : 0)
  if (type === packetType.connect) return 8192
  if (isRequest(type)) return 1024
  return type === packetType.pubrel ? 512 : costOfPacketMin
}
