import AsyncLevelPersistence, {
  type ClientLike,
  type PacketLike,
  type SubscriptionLike,
} from 'aedes-persistence-level/asyncPersistence.js'
import { decode, encode } from 'msgpack-lite'
import { messageOf } from '../../src/errors.ts'
import type { SessionsObserver } from './observer.ts'
import type { PacketIds } from './packet-ids.ts'
import type { SessionDatabase } from './records/database-level.ts'
import * as keys from './records/keys-level.ts'
import type { SessionQuota } from './records/quota.ts'
import { removeQueued, sentPacket } from './records/records-level.ts'
import { InOrder, Turns } from './turns.ts'

export interface QueueParts {
  database: SessionDatabase
  quota: SessionQuota
  packetIds: PacketIds
  observer: Pick<SessionsObserver, 'notKept'>
  isBridge: (client: ClientLike) => boolean
}

/** What waits for kept sessions, and what they were sent and have not acknowledged: bounded (G7), under the package's keys. */
export class QueueLevel {
  readonly #parts: QueueParts
  readonly #package: AsyncLevelPersistence
  /** aedes distributes a message when it is enqueued: in turn [MQTT-4.6.0-6]. */
  readonly #enqueued = new InOrder()
  /**
   * What is done to what is kept for one session: aedes sends a message when it is updated, in turn [MQTT-4.6.0-6]; and
   * when a session is taken over, both connections give the same message a packet ID, of which one is to remain.
   */
  readonly #turns = new Turns()

  constructor(parts: QueueParts) {
    this.#parts = parts
    this.#package = new AsyncLevelPersistence(parts.database)
  }

  /** A message that is published, for each session that is to have it. */
  async enqueue(subscriptions: SubscriptionLike[], packet: PacketLike): Promise<void> {
    if (subscriptions.length > 0) await this.#enqueued.run(() => this.#enqueue(subscriptions, packet))
  }

  async #enqueue(subscriptions: SubscriptionLike[], published: PacketLike): Promise<void> {
    const { clientId: bridge, retain = false, ...packet } = published
    const kept = subscriptions.filter(
      ({ qos, clientId }) => qos > 0 && clientId !== bridge && this.#keep(clientId as string, packet),
    )
    try {
      await Promise.all(
        kept.map((one) =>
          this.#put(one.clientId as string, {
            ...packet,
            // At the QoS that it will be sent at [MQTT-3.8.4-6].
            qos: Math.min(packet.qos ?? 0, one.qos) as 0 | 1 | 2,
            retain: false,
            retainAsPublished: retain,
          }),
        ),
      )
    } catch (error) {
      for (const { clientId } of kept) this.#parts.quota.unqueued(clientId as string, packet)
      throw error
    }
  }

  /** A retained message of QoS 1 or 2 for a new subscription, which is sent again if it is not acknowledged [MQTT-4.4.0-1]. */
  async keepRetained(clientId: string, packet: PacketLike): Promise<void> {
    if (!this.#keep(clientId, packet)) return
    try {
      // It has not been sent yet.
      await this.#put(clientId, { ...packet, messageId: undefined })
    } catch (error) {
      this.#parts.quota.unqueued(clientId, packet)
      throw error
    }
  }

  /** Of a message that was queued, when its session was sent it in another way. */
  async discard(clientId: string, { brokerId, brokerCounter }: PacketLike): Promise<void> {
    const { database, quota } = this.#parts
    await this.#turns.take(clientId, async () => {
      const key = keys.queuedKey(clientId, brokerId, brokerCounter)
      const record = await database.get(key)
      const queued = record && (decode(record) as PacketLike)
      // What was sent is on its way, and the session is to acknowledge it.
      if (!queued || queued.messageId) return
      await database.del(key)
      quota.unqueued(clientId, queued)
    })
  }

  /** aedes takes them out one by one, as far as it comes before the connection is over. */
  async discardAll(clientId: string): Promise<void> {
    const { database, quota } = this.#parts
    if (quota.queuedFor(clientId) === 0) return
    await this.#turns.take(clientId, () => removeQueued(database, quota, clientId))
  }

  /** What was queued for a session, each as it is to be sent on this connection, which begins. */
  async *read(client: ClientLike): AsyncGenerator<PacketLike> {
    const { database, packetIds, isBridge } = this.#parts
    const queued = this.#package.outgoingStream(client) as AsyncIterable<PacketLike>
    if (client.clean) {
      yield* queued
      return
    }
    const inUse: number[] = []
    for await (const key of database.keys(keys.sentKeysOf(client.id))) inUse.push(keys.packetIdOf(key))
    packetIds.take(client, inUse)
    for await (const { retainAsPublished = false, ...packet } of queued) {
      // Under its packet ID it was sent before [MQTT-3.3.1-1].
      if (packet.messageId) yield packet.cmd === 'publish' ? { ...packet, dup: true } : packet
      else {
        const messageId = packetIds.next(client)
        // Its subscription was there before it [MQTT-3.3.1-9]; a bridge is to know what to retain.
        const retain = packet.retain === true || (retainAsPublished && isBridge(client))
        // Stays queued for the next time.
        if (messageId !== undefined) yield { ...packet, messageId, retain }
      }
    }
  }

  /** A message is about to be sent, or only its release is. */
  update(client: ClientLike, packet: PacketLike): Promise<void> {
    return this.#turns.take(client.id, () => this.#update(client, packet))
  }

  /** What is sent to a connected session beyond the bound has no record; that must not end the connection. */
  async #update(client: ClientLike, packet: PacketLike): Promise<void> {
    const { database, quota } = this.#parts
    // The message is not sent any more here, and may have been sent under another packet ID already.
    if (client.closed && packet.cmd !== 'pubrel') return
    // Of a QoS 2 message only that it is to be released stays.
    const before =
      packet.cmd === 'pubrel' ? await sentPacket(database, client.id, packet.messageId) : undefined
    try {
      await this.#package.outgoingUpdate(client, packet)
      if (before) quota.requeued(client.id, before, packet)
    } catch (error) {
      if (messageOf(error) !== 'no such packet') throw error
    }
  }

  /** A message is acknowledged. */
  clear(client: ClientLike, packet: PacketLike): Promise<PacketLike | undefined> {
    const { packetIds, quota } = this.#parts
    if (packet.messageId !== undefined) packetIds.free(client, packet.messageId)
    return this.#turns.take(client.id, async () => {
      const cleared = await this.#package.outgoingClearMessageId(client, packet)
      if (cleared !== undefined) quota.unqueued(client.id, cleared)
      return cleared
    })
  }

  async #put(clientId: string, packet: PacketLike): Promise<void> {
    const key = keys.queuedKey(clientId, packet.brokerId, packet.brokerCounter)
    await this.#parts.database.put(key, encode(packet))
  }

  #keep(clientId: string, packet: PacketLike): boolean {
    const { quota, observer } = this.#parts
    const room = quota.hasRoomToQueue(clientId, packet)
    if (room) quota.queued(clientId, packet)
    else observer.notKept('queued')
    return room
  }
}
