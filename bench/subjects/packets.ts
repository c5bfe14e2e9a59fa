import { randomUUID } from 'node:crypto'

/** MQTT 3.1.1 packets, put together by hand: a load generator that costs as little as it can. */

export const eventType = 'com.acme.climate'

/** Makes a payload of 200 bytes. */
const padding = 'x'.repeat(41)

let eventsMade = 0

/** The number of the next event: no two of a process have the same. */
export function nextNumber(): number {
  return eventsMade
}

/** A random ID that is unique, the hard case for deduplication, and tells the number of its event. */
function newId(): string {
  return randomUUID().slice(0, 24) + String(eventsMade++).padStart(12, '0')
}

export function numberOf(id: string): number {
  return Number(id.slice(24))
}

export function topicOf(deviceId: string, type = eventType): Buffer {
  return Buffer.from(`devices/${deviceId}/events/${type}`)
}

/** A PUBLISH with QoS 1 of an event that nobody has sent before. */
export function publishPacket(topic: Buffer, packetId: number, type = eventType): Buffer {
  const payload = Buffer.from(
    `{"specversion":"1.0","id":"${newId()}","type":"${type}","source":"x","data":{"temperature":21.5,"humidity":40.25,"note":"${padding}"}}`,
  )
  const length = 2 + topic.length + 2 + payload.length
  const header = Buffer.from([
    0x32,
    (length & 0x7f) | 0x80,
    length >> 7,
    topic.length >> 8,
    topic.length & 0xff,
  ])
  return Buffer.concat([header, topic, Buffer.from([packetId >> 8, packetId & 0xff]), payload])
}

export function connectPacket(clientId: string): Buffer {
  const id = Buffer.from(clientId)
  const body = Buffer.concat([
    Buffer.from([0, 4, 0x4d, 0x51, 0x54, 0x54, 4, 2, 0, 0]),
    Buffer.from([id.length >> 8, id.length & 0xff]),
    id,
  ])
  return Buffer.concat([Buffer.from([0x10, body.length]), body])
}
