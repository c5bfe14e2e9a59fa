import type { Ingest, Publish, Publisher, Verdict } from '../admission/ingest.ts'
import type { PublisherSession, Unreleased } from '../sessions/unreleased.ts'
import type { Wills } from '../sessions/wills.ts'
import type { Connection } from './connections.ts'

/** Who publishes: an MQTT session; or its will, which is published in its name when the connection is over. */
export interface PublishingSession extends PublisherSession {
  will?: unknown
}

export type PublishedPacket = Publish & { dup: boolean; messageId?: number | undefined }

export interface PublishingParts {
  ingest: Pick<Ingest, 'publish'>
  wills: Pick<Wills, 'publish'>
  unreleased: Pick<Unreleased, 'take'>
  /** Keeps the message for whoever subscribes later. */
  retain(packet: PublishedPacket): Promise<void>
}

/**
 * Which way a publish takes to admission: as a will, once for all that it comes (QoS 2), or straight. What is to be retained is
 * so before its sender is answered: of two that one device sends the last must win, and who subscribes then must find it.
 */
export class Publishing {
  readonly #parts: PublishingParts

  constructor(parts: PublishingParts) {
    this.#parts = parts
  }

  /** As `Ingest.publish` does; of a connection that is over nothing but its will is taken. */
  async publish(
    session: PublishingSession,
    connection: Connection | undefined,
    packet: PublishedPacket,
  ): Promise<Verdict> {
    if (session.will === packet) return await this.#publishWill(session.id, packet)
    if (!connection) return 'withdrawn'
    if (packet.qos === 2) return await this.#publishOnce(session, connection, packet)
    // Whether the message is sent to a subscriber again is another matter [MQTT-3.3.1-3].
    packet.dup = false
    const { deviceId, signal } = connection
    return await this.#admit({ deviceId, clientId: session.id, signal, pressure: connection }, packet)
  }

  async #publishWill(clientId: string, packet: PublishedPacket): Promise<Verdict> {
    const verdict = await this.#parts.wills.publish(clientId, packet)
    if (verdict === 'acknowledge' && packet.retain) await this.#parts.retain(packet)
    return verdict
  }

  async #admit(publisher: Publisher, packet: PublishedPacket): Promise<Verdict> {
    const verdict = await this.#parts.ingest.publish(publisher, packet)
    if (verdict === 'acknowledge' && packet.retain) await this.#parts.retain(packet)
    return verdict
  }

  /** The packet counts as unanswered also while it waits for its turn, and for its record. */
  async #publishOnce(
    session: PublishingSession,
    connection: Connection,
    packet: PublishedPacket,
  ): Promise<Verdict> {
    const { unreleased } = this.#parts
    const { deviceId, signal } = connection
    const payloadBytes = packet.payload.length
    connection.began(payloadBytes)
    try {
      return await unreleased.take(session, packet, () =>
        this.#admit({ deviceId, clientId: session.id, signal }, packet),
      )
    } finally {
      packet.dup = false
      connection.ended(payloadBytes)
    }
  }
}
