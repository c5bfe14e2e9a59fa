import { Readable } from 'node:stream'
import type { ClientLike, PacketLike, SubscriptionLike } from 'aedes-persistence-level/asyncPersistence.js'
import { decode, encode } from 'msgpack-lite'
import type { Clock, Random } from '../../src/clock.ts'
import type { Logger } from '../../src/log.ts'
import { KeptSessions, sessionMark, type Subscription } from './kept-sessions.ts'
import type { SessionsObserver } from './observer.ts'
import { PacketIds } from './packet-ids.ts'
import { QueueLevel } from './queue-level.ts'
import type { Operation, SessionDatabase } from './records/database-level.ts'
import * as keys from './records/keys-level.ts'
import { type SessionLimits, SessionQuota } from './records/quota.ts'
import { loadQueued } from './records/records-level.ts'
import { RetainedLevel } from './retained-level.ts'
import { Turns } from './turns.ts'
import { Unreleased } from './unreleased.ts'
import { UnreleasedLevel } from './unreleased-level.ts'
import { PersistenceWithWills } from './wills-level.ts'

export interface SessionsOptions {
  folder: string
  limits: SessionLimits
  observer: SessionsObserver
  clock: Clock
  random: Random
  log: Logger
  deviceOf: (clientId: string) => string
  /** Whether a connection is another broker's. */
  isBridge: (client: ClientLike) => boolean
}

/**
 * aedes-persistence-level with bounds (G7), and without its subscriptions: its index drops a wide subscription when its owner
 * adds a narrower one with another QoS, and throws at a hundred levels.
 */
export class Sessions extends PersistenceWithWills {
  readonly #database: SessionDatabase
  readonly kept: KeptSessions
  readonly retained: RetainedLevel
  readonly packetIds: PacketIds
  readonly queue: QueueLevel
  readonly #quota: SessionQuota
  /** What is written of a session's subscriptions, by client ID. */
  readonly #writes = new Turns()
  #broker: { clients?: Record<string, unknown> } | undefined
  readonly unreleased: Unreleased

  constructor(database: SessionDatabase, options: SessionsOptions) {
    super(database, options)
    this.#database = database
    const { limits, deviceOf } = options
    this.#quota = new SessionQuota(limits, deviceOf)
    this.kept = new KeptSessions({
      perDeviceMax: limits.subscriptionsPerDeviceMax,
      deviceOf,
      isPresent: (clientId) => this.#broker?.clients?.[clientId] !== undefined,
    })
    this.retained = new RetainedLevel(database, { ...options, quota: this.#quota })
    this.packetIds = new PacketIds(options.random)
    this.queue = new QueueLevel({ ...options, database, quota: this.#quota, packetIds: this.packetIds })
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
    await loadQueued(this.#database, this.#quota)
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
    for (const one of forgotten) await this.queue.discardAll(one).catch(() => {})
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
    await this.#write(
      clientId,
      [...records].map(([key, subscription]) => ({ type: 'put', key, value: encode(subscription) })),
    )
    return made
  }

  async unsubscribe(clientId: string, filters: string[]): Promise<void> {
    const had = filters.filter((filter) => this.kept.filtersOf(clientId).has(filter))
    if (had.length === 0) return
    for (const filter of had) this.kept.unsubscribe(clientId, filter)
    await this.#write(clientId, [
      // A former version wrote none.
      { type: 'put', key: keys.sessionKey(clientId), value: encode({}) },
      ...had.map((filter) => ({ type: 'del' as const, key: keys.subscriptionKey(clientId, filter) })),
    ])
  }

  /** A clean session connects, which ends what was kept. */
  override async cleanSubscriptions({ id }: ClientLike): Promise<void> {
    const wasKept = this.kept.has(id)
    const filters = this.kept.end(id)
    await this.queue.discardAll(id)
    if (!wasKept) return
    await this.#write(id, [
      { type: 'del', key: keys.sessionKey(id) },
      ...filters.map((filter) => ({ type: 'del' as const, key: keys.subscriptionKey(id, filter) })),
    ])
  }

  #write(clientId: string, operations: Operation[]): Promise<void> {
    return this.#writes.take(clientId, () => this.#database.batch(operations))
  }

  override async subscriptionsByTopic(topic: string): Promise<SubscriptionLike[]> {
    return this.kept.match(topic)
  }

  override async outgoingEnqueueCombi(
    subscriptions: SubscriptionLike[],
    packet: PacketLike,
  ): Promise<unknown> {
    await this.queue.enqueue(subscriptions, packet)
    return packet
  }

  /** Asked for once, as the connection begins. */
  override outgoingStream(client: ClientLike): Readable {
    return Readable.from(this.queue.read(client))
  }

  override outgoingUpdate(client: ClientLike, packet: PacketLike): Promise<void> {
    return this.queue.update(client, packet)
  }

  override outgoingClearMessageId(client: ClientLike, packet: PacketLike): Promise<PacketLike | undefined> {
    return this.queue.clear(client, packet)
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
      client.conn?.destroy(error as Error)
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
}
