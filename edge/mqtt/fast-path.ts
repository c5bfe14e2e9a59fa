import type { Duplex } from 'node:stream'
import { messageOf } from '../../src/errors.ts'
import type { Message } from '../admission/admission.ts'
import type { Ingest } from '../admission/ingest.ts'
import type { EventMatch } from '../admission/routes/routes.ts'
import type { Connection, Taker } from './connections.ts'
import type { TakenPublish } from './door/taken.ts'
import type { Publishing } from './publishing.ts'

/** Who wants what is published, whether connected or away. */
export interface Audience {
  /** Grows with each change of what is wanted. */
  readonly changes: number
  wants(topic: string): boolean
}

export interface FastPathParts {
  ingest: Pick<Ingest, 'eventAt'>
  publishing: Pick<Publishing, 'takeAll'>
  /** Of connected sessions, and of kept ones. */
  audiences: readonly Audience[]
}

/** A topic of events. Whether anybody wants what is published to it is looked up again when a subscription has changed. */
export interface EventTopic {
  readonly topic: string
  readonly match: EventMatch
  changes: number
  isWanted: boolean
}

const acknowledgement = [0x40, 2] as const
const acknowledgementBytes = 4
const nothing = Buffer.alloc(0)

/**
 * The way of most publishes, past aedes: of QoS 0 and 1, not retained, to a topic of events that nobody has subscribed to. Those
 * that one read has brought are admitted together and take one promise and one write of PUBACKs (MQTT 3.1.1, 3.4); what a connection
 * may do, how far it is read and in which order it is answered is as it is on the other way.
 */
export class FastPath {
  readonly #parts: FastPathParts

  constructor(parts: FastPathParts) {
    this.#parts = parts
  }

  takerOf(connection: Connection, socket: Duplex): Taker<EventTopic> {
    const { ingest, audiences } = this.#parts
    const { deviceId } = connection
    return {
      topicOf(topic) {
        const match = ingest.eventAt(deviceId, topic)
        return match && { topic, match, changes: -1, isWanted: true }
      },
      mayTake(event) {
        const changes = audiences.reduce((sum, audience) => sum + audience.changes, 0)
        if (event.changes !== changes) {
          event.changes = changes
          event.isWanted = audiences.some((audience) => audience.wants(event.topic))
        }
        return !event.isWanted
      },
      take: (publishes) => void this.#take(connection, socket, publishes),
    }
  }

  async #take(
    connection: Connection,
    socket: Duplex,
    publishes: readonly TakenPublish<EventTopic>[],
  ): Promise<void> {
    const { deviceId, authMethod } = connection
    const messages = publishes.map(({ topic: { topic, match }, payload, qos }): Message => ({
      deviceId,
      authMethod,
      topic,
      payload,
      qos,
      match,
    }))
    let answered = 0
    const over = this.#parts.publishing.takeAll(connection, messages, (count) => {
      const from = answered
      answered += count
      return acknowledge(socket, publishes.slice(from, answered))
    })
    // They are texts by now. A part of what was read keeps all of it in memory (G7).
    for (const one of [...messages, ...publishes]) one.payload = nothing
    try {
      await over
    } catch (error) {
      // What was acknowledged is sent before.
      setImmediate(() => socket.destroy(error instanceof Error ? error : new Error(messageOf(error))))
    }
  }
}

/** Resolves when the socket has room again, or is closed. */
async function acknowledge(socket: Duplex, publishes: readonly TakenPublish<EventTopic>[]): Promise<void> {
  const packets = Buffer.allocUnsafe(acknowledgementBytes * publishes.length)
  let length = 0
  for (const { qos, packetId } of publishes) {
    if (qos === 0) continue
    packets[length] = acknowledgement[0]
    packets[length + 1] = acknowledgement[1]
    packets.writeUInt16BE(packetId, length + 2)
    length += acknowledgementBytes
  }
  if (length === 0 || socket.destroyed || socket.write(packets.subarray(0, length))) return
  await new Promise<void>((resolve) => {
    const done = (): void => {
      socket.off('drain', done)
      socket.off('close', done)
      resolve()
    }
    socket.on('drain', done)
    socket.on('close', done)
  })
}
