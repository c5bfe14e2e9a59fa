import type { Ingest, Publish, Verdict } from '../admission/ingest.ts'
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
}

/** Which way a publish takes to admission: as a will, once for all that it comes (QoS 2), or straight. */
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
    const { ingest, wills, unreleased } = this.#parts
    if (session.will === packet) return await wills.publish(session.id, packet)
    if (!connection) return 'withdrawn'
    const { deviceId, signal } = connection
    // It counts as unanswered also while it waits for its turn, and for its record.
    const held = connection.hold(packet)
    const admit = (): Promise<Verdict> =>
      ingest.publish({ deviceId, clientId: session.id, signal, held }, packet)
    try {
      return packet.qos === 2 ? await unreleased.take(session, packet, admit) : await admit()
    } finally {
      // Whether the message is sent to a subscriber again is another matter [MQTT-3.3.1-3].
      packet.dup = false
      held.release()
    }
  }
}
