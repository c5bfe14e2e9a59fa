import { Readable } from 'node:stream'
import type { ClientLike, PacketLike, SubscriptionLike } from 'aedes-persistence-level/asyncPersistence.js'
import { decode } from 'msgpack-lite'
import type { Clock } from '../../src/clock.ts'
import { codeOf, messageOf } from '../../src/errors.ts'
import type { Logger } from '../../src/log.ts'
import type { SessionsObserver } from './observer.ts'
import type { SessionDatabase } from './database-level.ts'
import { allRetained, retainedFor } from './retained-level.ts'
import { add, retainedBytes, type SessionLimits, SessionQuota } from './quota.ts'
import { clientIdOf, sentKey } from './records-level.ts'
import { SubscriptionIndex, tooManySubscriptions } from './subscriptions.ts'
import { InOrder, Turns } from './turns.ts'
import { Unreleased } from './unreleased.ts'
import { PersistenceWithWills } from './wills-level.ts'
import { UnreleasedLevel } from './unreleased-level.ts'

export interface SessionsOptions {
  folder: string
  limits: SessionLimits
  observer: SessionsObserver
  clock: Clock
  log: Logger
  deviceOf: (clientId: string) => string
  maySubscribe: (deviceId: string, filter: string) => boolean
}

/**
 * aedes-persistence-level with bounds (G7) and with its own index of subscriptions: the package's drops a wide
 * subscription when its owner adds a narrower one with another QoS, keeps what was refused, and keeps messages for
 * QoS 0, which nobody then fetches.
 */
export class Sessions extends PersistenceWithWills {
  readonly #database: SessionDatabase
  readonly #options: SessionsOptions
  readonly #index = new SubscriptionIndex()
  readonly #subscriptionsOf = new Map<string, number>()
  readonly #quota: SessionQuota
  readonly #adding = new WeakMap<SubscriptionLike[], Promise<void>>()
  /** One after the other: of two for one topic the last must win, and whoever subscribes then must find it. */
  #retainedWrites: Promise<void> = Promise.resolve()
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
    for await (const [topic, packet] of allRetained(this.#database))
      this.#quota.retained(topic, retainedBytes(topic, packet))
    await this.#loadQueued()
    await this.unreleased.load()
    const clientIds = new Set<string>()
    for await (const key of this.#database.keys({ gte: 'subscriptions:', lt: 'subscriptions;' }))
      clientIds.add(clientIdOf(key))
    for (const id of clientIds) {
      for (const subscription of await this.subscriptionsByClient({ id })) this.#remember(id, subscription)
    }
  }

  async #loadQueued(): Promise<void> {
    const sent = new Set<string>()
    for await (const [key, value] of this.#database.entries({ gte: 'outgoing:', lt: 'outgoing;' })) {
      const clientId = clientIdOf(key)
      const packet = decode(value) as PacketLike
      this.#quota.queued(clientId, packet)
      if (packet.messageId) sent.add(sentKey(clientId, packet.messageId))
    }
    // A kill between two writes leaves a packet ID of no message.
    const ofNone: string[] = []
    for await (const key of this.#database.keys({ gte: 'outgoing-id:', lt: 'outgoing-id;' }))
      if (!sent.has(key)) ofNone.push(key)
    await this.#database.batch(ofNone.map((key) => ({ type: 'del', key })))
  }

  override async storeRetained(packet: PacketLike): Promise<void> {
    const topic = packet.topic as string
    const before = this.#quota.retainedOn(topic)
    let kept = packet
    if (packet.payload?.length !== 0 && !this.#quota.hasRoomToRetain(topic, packet)) {
      this.#options.observer.notKept('retained')
      if (before === undefined) return
      // What is retained there is no longer the last one.
      kept = { topic, payload: Buffer.alloc(0) }
    }
    const bytes = kept.payload?.length === 0 ? undefined : retainedBytes(topic, kept)
    this.#quota.retained(topic, bytes)
    const written = this.#retainedWrites.then(() => super.storeRetained(kept))
    this.#retainedWrites = written.catch(() => {})
    try {
      await written
    } catch (error) {
      if (this.#quota.retainedOn(topic) === bytes) this.#quota.retained(topic, before)
      throw error
    }
  }

  override createRetainedStreamCombi(filters: string[]): Readable {
    return Readable.from(this.#readRetained(filters))
  }

  /** Never throws: aedes has nobody who listens for an error of this stream, and it would end the process. */
  async *#readRetained(filters: string[]): AsyncGenerator {
    await this.#retainedWrites
    try {
      for (const filter of filters) yield* retainedFor(this.#database, filter)
    } catch (error) {
      if (this.#database.closed || codeOf(error) === 'LEVEL_ITERATOR_NOT_OPEN') return
      this.#options.log.error(
        { code: 'SESSIONS_DAMAGED', detail: messageOf(error) },
        'retained messages could not be read',
      )
    }
  }

  /** aedes gives the whole list of a SUBSCRIBE, once for each filter in it. */
  override addSubscriptions(client: ClientLike, subscriptions: SubscriptionLike[]): Promise<void> {
    const adding = this.#adding.get(subscriptions) ?? this.#addAllowed(client, subscriptions)
    this.#adding.set(subscriptions, adding)
    return adding
  }

  async #addAllowed(client: ClientLike, subscriptions: SubscriptionLike[]): Promise<void> {
    const { deviceOf, maySubscribe, limits, observer } = this.#options
    const deviceId = deviceOf(client.id)
    const allowed = subscriptions.filter(({ topic }) => maySubscribe(deviceId, topic))
    const added = allowed.filter(({ topic }) => !this.#index.has(client.id, topic)).length
    if ((this.#subscriptionsOf.get(deviceId) ?? 0) + added > limits.subscriptionsPerDeviceMax) {
      observer.subscriptionRefused()
      throw tooManySubscriptions(deviceId, limits.subscriptionsPerDeviceMax)
    }
    for (const subscription of allowed) this.#remember(client.id, subscription)
    await super.addSubscriptions(client, allowed)
  }

  override async removeSubscriptions(client: ClientLike, topics: string[]): Promise<void> {
    const deviceId = this.#options.deviceOf(client.id)
    for (const topic of topics) {
      if (!this.#index.has(client.id, topic)) continue
      this.#index.remove(client.id, topic)
      add(this.#subscriptionsOf, deviceId, -1)
    }
    await super.removeSubscriptions(client, topics)
  }

  override async subscriptionsByTopic(topic: string): Promise<SubscriptionLike[]> {
    return this.#index.match(topic)
  }

  override async outgoingEnqueueCombi(
    subscriptions: SubscriptionLike[],
    packet: PacketLike,
  ): Promise<unknown> {
    if (subscriptions.length === 0) return packet
    return await this.#enqueued.run(this.#enqueue(subscriptions, packet))
  }

  async #enqueue(subscriptions: SubscriptionLike[], packet: PacketLike): Promise<unknown> {
    const kept = subscriptions.filter(
      ({ qos, clientId }) => qos > 0 && this.#keep(clientId as string, packet),
    )
    try {
      return await super.outgoingEnqueueCombi(kept, packet)
    } catch (error) {
      for (const { clientId } of kept) this.#quota.unqueued(clientId as string, packet)
      throw error
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
    const before = packet.cmd === 'pubrel' ? await this.#sent(client.id, packet.messageId) : undefined
    try {
      await super.outgoingUpdate(client, packet)
      if (before) this.#quota.requeued(client.id, before, packet)
    } catch (error) {
      if (messageOf(error) !== 'no such packet') throw error
    }
  }

  async #sent(clientId: string, messageId: number | undefined): Promise<PacketLike | undefined> {
    const record = await this.#database.get(sentKey(clientId, messageId))
    return record && (decode(record) as PacketLike)
  }

  override outgoingClearMessageId(client: ClientLike, packet: PacketLike): Promise<PacketLike | undefined> {
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

  #remember(clientId: string, { topic, qos }: SubscriptionLike): void {
    if (!this.#index.has(clientId, topic)) add(this.#subscriptionsOf, this.#options.deviceOf(clientId), 1)
    this.#index.add({ clientId, topic, qos })
  }
}
