import { rename } from 'node:fs/promises'
import { Readable } from 'node:stream'
import AsyncLevelPersistence, {
  type ClientLike,
  type PacketLike,
  type SubscriptionLike,
} from 'aedes-persistence-level/asyncPersistence.js'
import type { Clock } from '../src/clock.ts'
import { codeOf, messageOf, TidegateError } from '../src/errors.ts'
import type { Logger } from '../src/log.ts'
import { InOrder } from './in-order.ts'
import type { BrokerObserver } from './observers.ts'
import { openRecords, SessionDatabase } from './session-database-level.ts'
import { removeUnreadable } from './session-records-level.ts'
import { isInTheWay } from './store-level-errors.ts'
import { SubscriptionIndex } from './subscriptions.ts'
import { isOwnTopic } from './topics.ts'

export interface SessionLimits {
  /** Messages kept for one session that is away. */
  queuedMax: number
  /** Of its kept sessions together; of each clean one. */
  subscriptionsPerDeviceMax: number
  retainedMax: number
  retainedPerDeviceMax: number
}

export interface SessionsOptions {
  folder: string
  limits: SessionLimits
  observer: BrokerObserver
  clock: Clock
  log: Logger
  deviceOf: (clientId: string) => string
  maySubscribe: (deviceId: string, filter: string) => boolean
}

/**
 * Retained messages, wills, subscriptions and what waits for sessions that are away, in a LevelDB of their own.
 * Not synced: it survives a crash of the process; after a power cut the newest may be missing. No event depends on
 * it (G1 is the outbox's). A record that cannot be read is taken out; a database that is damaged is set aside whole, and
 * a new one is begun; one that cannot be opened for another reason is left as it is.
 * @throws TidegateError `SESSIONS_UNAVAILABLE`
 */
export async function openSessions(options: SessionsOptions): Promise<Sessions> {
  const { folder, log, clock } = options
  try {
    const records = await openRecords(folder)
    const removed = await removeUnreadable(records).catch(async (error: unknown) => {
      await records.close()
      throw error
    })
    if (removed > 0) log.error({ code: 'SESSIONS_DAMAGED', removed }, 'sessions: unreadable records removed')
    return new Sessions(new SessionDatabase(records, options), options)
  } catch (error) {
    if (!isDamage(error)) throw unavailable(folder, error)
    const aside = `${folder}.damaged-${new Date(clock.now()).toISOString().replaceAll(':', '')}`
    try {
      await rename(folder, aside)
      const sessions = new Sessions(new SessionDatabase(await openRecords(folder), options), options)
      log.error({ code: 'SESSIONS_DAMAGED', aside, detail: messageOf(error) }, 'sessions could not be read')
      return sessions
    } catch {
      throw unavailable(folder, error)
    }
  }
}

/** A full disk, a missing right or too many open files say nothing about what is in the files. */
function isDamage(error: unknown): boolean {
  const code = codeOf(error)
  if (code === 'LEVEL_LOCKED' || isInTheWay(error)) return false
  // EEXIST: it is a file.
  return code === 'LEVEL_CORRUPTION' || code === 'EEXIST' || unreadable.test(messageOf(error))
}

const unreadable =
  /(?:ldb|sst|log|CURRENT|MANIFEST-\d+): (?:No such file|Invalid argument|No such device|Is a directory|Input\/output)/i

function unavailable(folder: string, cause: unknown): TidegateError {
  return new TidegateError('SESSIONS_UNAVAILABLE', {
    message: `the session database ${folder} cannot be opened: ${messageOf(cause)}`,
    retryable: false,
    hint: 'check that no other gateway uses this data folder, that it is writable and that the disk has room',
    cause,
  })
}

export function tooManySubscriptions(deviceId: string, max: number): TidegateError {
  return new TidegateError('SUBSCRIPTIONS_MAX', {
    message: `${deviceId} has more than ${max} subscriptions in a clean session, or in its kept ones`,
    retryable: false,
    hint: 'unsubscribe what is not needed, or raise mqtt.sessions.subscriptionsPerDeviceMax',
  })
}

const retainedPrefix = 'retained:'

/**
 * aedes-persistence-level with bounds (G7) and with its own index of subscriptions: the package's drops a wide
 * subscription when its owner adds a narrower one with another QoS, keeps what was refused, and keeps messages for
 * QoS 0, which nobody then fetches.
 */
export class Sessions extends AsyncLevelPersistence {
  readonly #database: SessionDatabase
  readonly #options: SessionsOptions
  readonly #index = new SubscriptionIndex()
  readonly #subscriptionsOf = new Map<string, number>()
  readonly #queuedFor = new Map<string, number>()
  readonly #adding = new WeakMap<SubscriptionLike[], Promise<void>>()
  readonly #retained = new Set<string>()
  readonly #retainedOf = new Map<string, number>()
  /** One after the other: of two for one topic the last must win, and whoever subscribes then must find it. */
  #retainedWrites: Promise<void> = Promise.resolve()
  // aedes distributes a message when it is enqueued and sends it when it is updated: in turn [MQTT-4.6.0-6].
  readonly #enqueued = new InOrder()
  readonly #updated = new InOrder()

  constructor(database: SessionDatabase, options: SessionsOptions) {
    super(database)
    this.#database = database
    this.#options = options
  }

  // aedes insists on an async function here.
  override async setup(broker: object): Promise<void> {
    await super.setup(broker)
    for await (const key of this.#database.keys({ gte: retainedPrefix, lt: 'retained;' }))
      this.#rememberRetained(key.slice(retainedPrefix.length))
    for await (const key of this.#database.keys({ gte: 'outgoing:', lt: 'outgoing;' }))
      increment(this.#queuedFor, decodeURIComponent(key.split(':')[1] as string))
    const range = { gte: 'subscriptions:', lt: 'subscriptions;' }
    const clientIds = new Set<string>()
    for await (const key of this.#database.keys(range))
      clientIds.add(decodeURIComponent(key.split(':')[1] as string))
    for (const id of clientIds) {
      for (const subscription of await this.subscriptionsByClient({ id })) this.#remember(id, subscription)
    }
  }

  override async storeRetained(packet: PacketLike): Promise<void> {
    const topic = packet.topic as string
    const known = this.#retained.has(topic)
    const owner = ownerOf(topic)
    if (packet.payload?.length === 0) {
      if (known) this.#forgetRetained(topic, owner)
    } else if (!known) {
      const { retainedMax, retainedPerDeviceMax } = this.#options.limits
      const ofOwner = owner === undefined ? 0 : (this.#retainedOf.get(owner) ?? 0)
      if (this.#retained.size >= retainedMax || ofOwner >= retainedPerDeviceMax) {
        this.#options.observer.notKept('retained')
        return
      }
      this.#rememberRetained(topic)
    }
    const written = this.#retainedWrites.then(() => super.storeRetained(packet))
    this.#retainedWrites = written.catch(() => {})
    try {
      await written
    } catch (error) {
      if (!known && this.#retained.has(topic)) this.#forgetRetained(topic, owner)
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
      yield* super.createRetainedStreamCombi(filters)
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
    const { deviceOf, maySubscribe, limits } = this.#options
    const deviceId = deviceOf(client.id)
    const allowed = subscriptions.filter(({ topic }) => maySubscribe(deviceId, topic))
    const added = allowed.filter(({ topic }) => !this.#index.has(client.id, topic)).length
    if ((this.#subscriptionsOf.get(deviceId) ?? 0) + added > limits.subscriptionsPerDeviceMax) {
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
      decrement(this.#subscriptionsOf, deviceId)
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
    const kept: SubscriptionLike[] = []
    for (const subscription of subscriptions) {
      if (subscription.qos > 0 && this.#hasRoom(subscription.clientId as string)) kept.push(subscription)
    }
    try {
      return await super.outgoingEnqueueCombi(kept, packet)
    } catch (error) {
      for (const { clientId } of kept) decrement(this.#queuedFor, clientId as string)
      throw error
    }
  }

  override outgoingUpdate(client: ClientLike, packet: PacketLike): Promise<void> {
    return this.#updated.run(this.#update(client, packet))
  }

  /** What is sent to a connected session beyond the bound has no record; that must not end the connection. */
  async #update(client: ClientLike, packet: PacketLike): Promise<void> {
    try {
      await super.outgoingUpdate(client, packet)
    } catch (error) {
      if (messageOf(error) !== 'no such packet') throw error
    }
  }

  override async outgoingClearMessageId(
    client: ClientLike,
    packet: PacketLike,
  ): Promise<PacketLike | undefined> {
    const cleared = await super.outgoingClearMessageId(client, packet)
    if (cleared !== undefined) decrement(this.#queuedFor, client.id)
    return cleared
  }

  /** Never throws: where aedes asks for it as a device connects, it has nobody who catches. */
  override async delWill(client: ClientLike): Promise<PacketLike | undefined> {
    try {
      return await super.delWill(client)
    } catch (error) {
      if (this.#database.closed) return undefined
      const about = { code: 'SESSIONS_UNAVAILABLE', client: client.id, detail: messageOf(error) }
      this.#options.log.error(about, 'a will could not be removed')
      return undefined
    }
  }

  close(): Promise<void> {
    return this.destroy()
  }

  #hasRoom(clientId: string): boolean {
    const { queuedMax } = this.#options.limits
    const queued = this.#queuedFor.get(clientId) ?? 0
    const room = queued < queuedMax
    this.#queuedFor.set(clientId, room ? queued + 1 : queued)
    if (!room) this.#options.observer.notKept('queued')
    return room
  }

  #remember(clientId: string, { topic, qos }: SubscriptionLike): void {
    if (!this.#index.has(clientId, topic)) increment(this.#subscriptionsOf, this.#options.deviceOf(clientId))
    this.#index.add({ clientId, topic, qos })
  }

  #rememberRetained(topic: string): void {
    this.#retained.add(topic)
    const owner = ownerOf(topic)
    if (owner !== undefined) increment(this.#retainedOf, owner)
  }

  #forgetRetained(topic: string, owner: string | undefined): void {
    this.#retained.delete(topic)
    if (owner !== undefined) decrement(this.#retainedOf, owner)
  }
}

/** The device whose topic it is; undefined for topics of routes. */
function ownerOf(topic: string): string | undefined {
  const deviceId = topic.split('/')[1] ?? ''
  return isOwnTopic(deviceId, topic) ? deviceId : undefined
}

function increment(counts: Map<string, number>, key: string): void {
  counts.set(key, (counts.get(key) ?? 0) + 1)
}

function decrement(counts: Map<string, number>, key: string): void {
  const left = (counts.get(key) ?? 0) - 1
  if (left > 0) counts.set(key, left)
  else counts.delete(key)
}
