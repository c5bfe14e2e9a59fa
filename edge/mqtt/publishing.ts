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
  /** Keeps the message for whoever subscribes later, if anybody may be given it. */
  retain(clientId: string, packet: PublishedPacket): Promise<void>
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
    const { deviceId, signal } = connection
    const { unreleased } = this.#parts
    // The packet counts as unanswered also while it waits for its turn, and for its record.
    const held = connection.hold(packet)
    const admit = (): Promise<Verdict> =>
      this.#admit({ deviceId, clientId: session.id, signal, held }, packet)
    try {
      return packet.qos === 2 ? await unreleased.take(session, packet, admit) : await admit()
    } finally {
      // Whether the message is sent to a subscriber again is another matter [MQTT-3.3.1-3].
      packet.dup = false
      held.release()
    }
  }

  async #publishWill(clientId: string, packet: PublishedPacket): Promise<Verdict> {
    const verdict = await this.#parts.wills.publish(clientId, packet)
    if (verdict === 'acknowledge' && packet.retain) await this.#parts.retain(clientId, packet)
    return verdict
  }

  async #admit(publisher: Publisher, packet: PublishedPacket): Promise<Verdict> {
    const verdict = await this.#parts.ingest.publish(publisher, packet)
    if (verdict === 'acknowledge' && packet.retain) await this.#parts.retain(publisher.clientId, packet)
    return verdict
  }
}
