import { ack, pingreq, publish, subscribe } from './mqtt-bytes.ts'
import type { RawConnection } from './raw-connection.ts'
import type { TestBroker } from './test-broker.ts'

/** What a test does again and again on connections whose packets are made by hand. */

/** Ends the last connection of the broker. */
export async function drop({ when }: TestBroker, connection: RawConnection): Promise<void> {
  connection.end()
  await when(({ connections }) => connections === 0)
}

/** What was sent before has been handled. */
export async function roundTrip(connection: RawConnection): Promise<void> {
  connection.write(pingreq)
  await connection.until(0xd0)
}

export async function subscribed(connection: RawConnection, filter: string, qos: 0 | 1 | 2): Promise<void> {
  connection.write(subscribe(9, [filter, qos]))
  await connection.until(0x90)
}

export interface Message {
  qos: number
  dup: boolean
  retain: boolean
  packetId: number | undefined
  payload: string
}

const publishTypes = Array.from({ length: 16 }, (_, flags) => 0x30 | flags)

const cameTo = (connection: RawConnection): Buffer[] => connection.all(...publishTypes)

/** Resolves when so many have come, with them and whatever came on their heels. */
export async function messages(connection: RawConnection, count: number): Promise<Message[]> {
  while (cameTo(connection).length < count) await roundTrip(connection)
  for (let index = 0; index < 3; index += 1) await roundTrip(connection)
  return cameTo(connection).map(readMessage)
}

/** All that was queued for a session, whose connection has just begun: what comes before a message that it sends to itself. */
export async function queued(connection: RawConnection): Promise<Message[]> {
  const topic = 'devices/a1/end-of-queue'
  await subscribed(connection, topic, 0)
  connection.write(publish(topic, topic))
  for (;;) {
    await roundTrip(connection)
    const came = cameTo(connection).map(readMessage)
    const end = came.findIndex(({ payload }) => payload === topic)
    if (end >= 0) return came.slice(0, end)
  }
}

export function readMessage(bytes: Buffer): Message {
  const first = bytes[0] as number
  let at = 1
  while ((bytes[at] as number) >= 0x80) at += 1
  const topicEnd = at + 3 + bytes.readUInt16BE(at + 1)
  const qos = (first >> 1) & 3
  return {
    qos,
    dup: (first & 8) > 0,
    retain: (first & 1) > 0,
    packetId: qos > 0 ? bytes.readUInt16BE(topicEnd) : undefined,
    payload: bytes.toString('utf8', qos > 0 ? topicEnd + 2 : topicEnd),
  }
}

/** Publishes and does the whole handshake. */
export async function published(
  connection: RawConnection,
  topic: string,
  payload: string,
  qos: 0 | 1 | 2,
  retain = false,
): Promise<void> {
  connection.write(publish(topic, payload, qos, 77, Number(retain)))
  if (qos === 1) await connection.until(0x40)
  if (qos === 2) {
    await connection.until(0x50)
    connection.write(ack(0x62, 77))
    await connection.until(0x70)
  }
  await roundTrip(connection)
}
