import { Readable } from 'node:stream'
import type { ClientLike, PacketLike, SubscriptionLike } from 'aedes-persistence-level/asyncPersistence.js'
import { decode, encode } from 'msgpack-lite'
import type { Clock, Random } from '../../src/clock.ts'
import { messageOf } from '../../src/errors.ts'
import type { Logger } from '../../src/log.ts'
import type { SessionsObserver } from './observer.ts'
import type { SessionDatabase } from './database-level.ts'
import { RetainedLevel } from './retained-level.ts'
import { type SessionLimits, SessionQuota } from './quota.ts'
import * as keys from './records-level.ts'
import { KeptSessions, sessionMark, type Subscription } from './kept-sessions.ts'
import { PacketIds } from './packet-ids.ts'
import { InOrder, Turns } from './turns.ts'
import { Unreleased } from './unreleased.ts'
import { PersistenceWithWills } from './wills-level.ts'
import { UnreleasedLevel } from './unreleased-level.ts'

export interface SessionsOptions {
  folder: string
  limits: SessionLimits
  observer: SessionsObserver
  clock: Clock
  random: Random
  log: Logger
  deviceOf: (clientId: string) => string
}

/**
 * aedes-persistence-level with bounds (G7), and without its subscriptions: its index drops a wide subscription when its owner
 * adds a narrower one with another QoS, and throws at a hundred levels.
 */
export class Sessions extends PersistenceWithWills {
  readonly #database: SessionDatabase
  readonly #options: SessionsOptions
  readonly kept: KeptSessions
  readonly retained: RetainedLevel
  readonly packetIds: PacketIds
  readonly #quota: SessionQuota
  #broker: { clients?: Record<string, unknown> } | undefined
  /** aedes distributes a message when it is enqueued: in turn [MQTT-4.6.0-6]. */
  readonly #enqueued = new InOrder()
  /**
   * What is done to what is kept for one session: aedes sends a message when it is updated, in turn [MQTT-4.6.0-6]; and
   * when a session is taken over, both connections give the same message a packet ID, of which one is to remain.
   */
  readonly #turns = new Turns()
  readonly unreleased: Unreleased

  constructor(database: SessionDatabase, options: SessionsOptions) {
    super(database, options)
    this.#database = database
    this.#options = options
    const { limits, deviceOf } = options
    this.#quota = new SessionQuota(limits, deviceOf)
    this.kept = new KeptSessions({
      perDeviceMax: limits.subscriptionsPerDeviceMax,
      deviceOf,
      isPresent: (clientId) => this.#broker?.clients?.[clientId] !== undefined,
    })
    this.retained = new RetainedLevel(database, { ...options, quota: this.#quota })
    this.packetIds = new PacketIds(options.random)
    this.unreleased = new Unreleased({
      records: new UnreleasedLevel(database),
      perDeviceMax: limits.unreleasedPerDeviceMax,
      deviceOf,
      observer: options.observer,
    })
  }

  // aedes insists on an async function here.
  override async setup(broker: object): Promise<void> {
    await super.setup(broker)
    this.#broker = broker
    await this.retained.load()
    await keys.loadQueued(this.#database, this.#quota)
    await this.unreleased.load()
    for await (const value of this.#database.values({ gte: 'subscriptions:', lt: 'subscriptions;' }))
      this.kept.load(decode(value) as Subscription)
    for await (const key of this.#database.keys({ gte: 'session:', lt: 'session;' }))
      this.kept.begin(keys.clientIdOf(key))
  }

  /** aedes asks for it when it has answered the sender: what is to be retained is so already. */
  override async storeRetained(): Promise<void> {}

  /** Asked when a kept session connects. */
  override async subscriptionsByClient({ id }: { id: string }): Promise<SubscriptionLike[]> {
    const isPresent = this.kept.has(id) || this.unreleased.hasKept(id)
    await this.#begin(id)
    return isPresent ? [{ topic: sessionMark, qos: 0 }] : []
  }

  /** Without a record a session lasts as long as the gateway runs: no reason to turn it away. */
  async #begin(clientId: string): Promise<void> {
    const { isNew, forgotten } = this.kept.begin(clientId)
    if (!isNew && forgotten.length === 0) return
    for (const one of forgotten) await this.#discardAll(one).catch(() => {})
    const records = forgotten.map((one) => ({ type: 'del' as const, key: keys.sessionKey(one) }))
    await this.#database
      .batch([{ type: 'put', key: keys.sessionKey(clientId), value: encode({}) }, ...records])
      .catch(() => {})
  }

  /** Of a kept session: which of its subscriptions were made, and which are over the bound of its device. */
  async subscribe(clientId: string, wanted: { topic: string; qos: number }[]): Promise<boolean[]> {
    const records = new Map<string, Subscription>()
    const made = wanted.map(({ topic, qos }) => {
      const subscription = { clientId, topic, qos }
      const isMade = this.kept.subscribe(subscription)
      if (isMade) records.set(keys.subscriptionKey(clientId, topic), subscription)
      return isMade
    })
    await this.#database.batch(
      [...records].map(([key, subscription]) => ({ type: 'put', key, value: encode(subscription) })),
    )
    return made
  }

  async unsubscribe(clientId: string, filters: string[]): Promise<void> {
    const had = filters.filter((filter) => this.kept.filtersOf(clientId).has(filter))
    if (had.length === 0) return
    for (const filter of had) this.kept.unsubscribe(clientId, filter)
    await this.#database.batch([
      // A former version wrote none.
      { type: 'put', key: keys.sessionKey(clientId), value: encode({}) },
      ...had.map((filter) => ({ type: 'del' as const, key: keys.subscriptionKey(clientId, filter) })),
    ])
  }

  /** A clean session connects, which ends what was kept. */
  override async cleanSubscriptions({ id }: ClientLike): Promise<void> {
    const wasKept = this.kept.has(id)
    const filters = this.kept.end(id)
    await this.#discardAll(id)
    if (!wasKept) return
    await this.#database.batch([
      { type: 'del', key: keys.sessionKey(id) },
      ...filters.map((filter) => ({ type: 'del' as const, key: keys.subscriptionKey(id, filter) })),
    ])
  }

  /** aedes takes them out one by one, as far as it comes before the connection is over. */
  async #discardAll(clientId: string): Promise<void> {
    if (this.#quota.queuedFor(clientId) === 0) return
    await this.#turns.take(clientId, () => keys.removeQueued(this.#database, this.#quota, clientId))
  }

  override async subscriptionsByTopic(topic: string): Promise<SubscriptionLike[]> {
    return this.kept.match(topic)
  }

  override async outgoingEnqueueCombi(
    subscriptions: SubscriptionLike[],
    packet: PacketLike,
  ): Promise<unknown> {
    if (subscriptions.length === 0) return packet
    return await this.#enqueued.run(() => this.#enqueue(subscriptions, packet))
  }

  async #enqueue(
    subscriptions: SubscriptionLike[],
    { clientId: bridge, ...packet }: PacketLike,
  ): Promise<unknown> {
    const kept = subscriptions.filter(
      ({ qos, clientId }) => qos > 0 && clientId !== bridge && this.#keep(clientId as string, packet),
    )
    try {
      // At the QoS that it will be sent at [MQTT-3.8.4-6].
      await Promise.all(
        kept.map((one) =>
          this.outgoingEnqueue(one, { ...packet, qos: Math.min(packet.qos ?? 0, one.qos) as 0 | 1 | 2 }),
        ),
      )
      return packet
    } catch (error) {
      for (const { clientId } of kept) this.#quota.unqueued(clientId as string, packet)
      throw error
    }
  }

  /** A retained message of QoS 1 or 2 for a kept session, which is sent again if it is not acknowledged [MQTT-4.4.0-1]. */
  async keepRetained(clientId: string, packet: PacketLike): Promise<void> {
    if (!this.#keep(clientId, packet)) return
    try {
      await this.outgoingEnqueue({ clientId }, packet)
    } catch (error) {
      this.#quota.unqueued(clientId, packet)
      throw error
    }
  }

  /** Of a message that was queued, when its session was sent it in another way. */
  async discardQueued(clientId: string, { brokerId, brokerCounter }: PacketLike): Promise<void> {
    await this.#turns.take(clientId, async () => {
      const key = keys.queuedKey(clientId, brokerId, brokerCounter)
      const record = await this.#database.get(key)
      const queued = record && (decode(record) as PacketLike)
      // What was sent is on its way, and the session is to acknowledge it.
      if (!queued || queued.messageId) return
      await this.#database.del(key)
      this.#quota.unqueued(clientId, queued)
    })
  }

  /** What was queued for a session, asked for once as its connection begins. */
  override outgoingStream(client: ClientLike): Readable {
    return Readable.from(this.#readQueued(client))
  }

  async *#readQueued(client: ClientLike): AsyncGenerator<PacketLike> {
    if (client.clean) {
      yield* super.outgoingStream(client) as AsyncIterable<PacketLike>
      return
    }
    const inUse: number[] = []
    for await (const key of this.#database.keys(keys.sentKeysOf(client.id))) inUse.push(keys.packetIdOf(key))
    this.packetIds.take(client, inUse)
    for await (const packet of super.outgoingStream(client) as AsyncIterable<PacketLike>) {
      // Under its packet ID it was sent before [MQTT-3.3.1-1].
      if (packet.messageId) yield packet.cmd === 'publish' ? { ...packet, dup: true } : packet
      else {
        const messageId = this.packetIds.next(client)
        // Stays queued for the next time.
        if (messageId !== undefined) yield { ...packet, messageId }
      }
    }
  }

  override outgoingUpdate(client: ClientLike, packet: PacketLike): Promise<void> {
    return this.#turns.take(client.id, () => this.#update(client, packet))
  }

  /** What is sent to a connected session beyond the bound has no record; that must not end the connection. */
  async #update(client: ClientLike, packet: PacketLike): Promise<void> {
    // The message is not sent any more here, and may have been sent under another packet ID already.
    if (client.closed && packet.cmd !== 'pubrel') return
    // Of a QoS 2 message only that it is to be released stays.
    const before =
      packet.cmd === 'pubrel' ? await keys.sentPacket(this.#database, client.id, packet.messageId) : undefined
    try {
      await super.outgoingUpdate(client, packet)
      if (before) this.#quota.requeued(client.id, before, packet)
    } catch (error) {
      if (messageOf(error) !== 'no such packet') throw error
    }
  }

  override outgoingClearMessageId(client: ClientLike, packet: PacketLike): Promise<PacketLike | undefined> {
    if (packet.messageId !== undefined) this.packetIds.free(client, packet.messageId)
    return this.#turns.take(client.id, async () => {
      const cleared = await super.outgoingClearMessageId(client, packet)
      if (cleared !== undefined) this.#quota.unqueued(client.id, cleared)
      return cleared
    })
  }

  /** Asked before a QoS 2 message is distributed, and before it is released. */
  override async incomingGetPacket(client: ClientLike, packet: PacketLike): Promise<PacketLike> {
    const { cmd, messageId = 0 } = packet
    const { unreleased } = this
    const known =
      cmd === 'pubrel' ? unreleased.has(client.id, messageId) : !unreleased.distribute(client.id, messageId)
    if (!known) throw new Error('no such packet')
    return { messageId }
  }

  /** The record of the message was written when it was taken. */
  override async incomingStorePacket(client: ClientLike): Promise<void> {
    if (client.clean && client.closed) throw new Error('the connection is over')
  }

  /** aedes sends PUBCOMP although it fails, and the packet ID would be used again: the device has to ask again. */
  override async incomingDelPacket(client: ClientLike, { messageId = 0 }: PacketLike): Promise<void> {
    try {
      await this.unreleased.release(client.id, messageId)
    } catch (error) {
      client.conn?.destroy(error)
      throw error
    }
  }

  override cleanIncoming(client: ClientLike): Promise<void> {
    return this.unreleased.end(client)
  }

  async close(): Promise<void> {
    await this.unreleased.settled()
    await this.destroy()
  }

  #keep(clientId: string, packet: PacketLike): boolean {
    const room = this.#quota.hasRoomToQueue(clientId, packet)
    if (room) this.#quota.queued(clientId, packet)
    else this.#options.observer.notKept('queued')
    return room
  }
}
