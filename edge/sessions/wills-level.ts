import { Readable } from 'node:stream'
import AsyncLevelPersistence, {
  type ClientLike,
  type PacketLike,
} from 'aedes-persistence-level/asyncPersistence.js'
import { decode, encode } from 'msgpack-lite'
import type { Clock } from '../../src/clock.ts'
import { messageOf } from '../../src/errors.ts'
import type { Logger } from '../../src/log.ts'
import type { SessionDatabase } from './records/database-level.ts'
import { add } from './records/quota.ts'
import { clientIdOf } from './records/keys-level.ts'
import { createThrottle } from '../../src/throttle.ts'
import { Turns } from './turns.ts'
import type { KeptWill, Will, WillRecords } from './wills.ts'

export interface WillsLevelOptions {
  clock: Clock
  log: Logger
  deviceOf: (clientId: string) => string
}

interface Live {
  key: string
  will: Will
  client: ClientLike
}

type Stored = Pick<Will, 'topic' | 'payload' | 'qos' | 'retain' | 'authMethod'> & { isOver: boolean }

/**
 * Each will has a record of its own: a connection that takes another's place has its will stored before the other's is
 * published. Nothing here fails: a will without a record is published all the same, unless the gateway ends first.
 */
export class WillsLevel implements WillRecords {
  readonly #database: SessionDatabase
  readonly #options: WillsLevelOptions
  readonly #throttle: (key: string) => number | undefined
  #lastNumber = 0
  /** Of this run's connections, by client ID. */
  readonly #live = new Map<string, Live[]>()
  /** Of connections that an earlier run had when it ended, by client ID: keys. */
  readonly #interrupted = new Map<string, string[]>()
  /** Of connections that are over: the client ID, by key. */
  readonly #over = new Map<string, string>()
  readonly #overOfDevice = new Map<string, number>()
  /** What is written of one will. */
  readonly #turns = new Turns()

  constructor(database: SessionDatabase, options: WillsLevelOptions) {
    this.#database = database
    this.#options = options
    this.#throttle = createThrottle(options.clock, 10_000)
  }

  async load(): Promise<void> {
    for await (const [key, value] of this.#database.entries({ gte: 'will:', lt: 'will;' })) {
      this.#lastNumber = Math.max(this.#lastNumber, Number(key.split(':')[2] ?? 0))
      const clientId = clientIdOf(key)
      if ((decode(value) as Stored).isOver) this.#noteOver(key, clientId)
      else this.#interrupted.set(clientId, [...(this.#interrupted.get(clientId) ?? []), key])
    }
  }

  /** Of a connection that begins. */
  async keep(client: ClientLike, will: Will): Promise<void> {
    // What there was to publish is published already.
    if (client.closed) return
    const live = { key: this.#newKey(client.id), will, client }
    this.#live.set(client.id, [...(this.#live.get(client.id) ?? []), live])
    await this.#put(live.key, will, false)
  }

  /** The device is back after the gateway was, or it said goodbye. */
  async drop(clientId: string): Promise<void> {
    const keys = this.#interrupted.get(clientId) ?? []
    this.#interrupted.delete(clientId)
    const live = this.#live.get(clientId) ?? []
    // One that is taken over closes after the next one's will was stored: its will is its own.
    for (const { key, client } of live) if (client.closed) keys.push(key)
    this.#setLive(
      clientId,
      live.filter(({ client }) => !client.closed),
    )
    await Promise.all(keys.map((key) => this.#del(key)))
  }

  take(clientId: string, will: Will): string {
    const live = this.#live.get(clientId) ?? []
    const taken = live.find((one) => one.will === will)
    this.#setLive(
      clientId,
      live.filter((one) => one !== taken),
    )
    return taken?.key ?? this.#newKey(clientId)
  }

  async keepOver(key: string, { clientId, will }: KeptWill): Promise<void> {
    this.#noteOver(key, clientId)
    await this.#put(key, will, true)
  }

  async forget(key: string): Promise<void> {
    const clientId = clientIdOf(key)
    if (this.#over.delete(key)) add(this.#overOfDevice, this.#options.deviceOf(clientId), -1)
    const interrupted = (this.#interrupted.get(clientId) ?? []).filter((one) => one !== key)
    if (interrupted.length > 0) this.#interrupted.set(clientId, interrupted)
    else this.#interrupted.delete(clientId)
    await this.#del(key)
  }

  overOf(deviceId: string): number {
    return this.#overOfDevice.get(deviceId) ?? 0
  }

  left(): string[] {
    return [...this.#over.keys(), ...[...this.#interrupted.values()].flat()]
  }

  async read(key: string): Promise<KeptWill | undefined> {
    const record = await this.#database.get(key)
    return record && { clientId: clientIdOf(key), will: decode(record) as Will }
  }

  #setLive(clientId: string, live: Live[]): void {
    if (live.length > 0) this.#live.set(clientId, live)
    else this.#live.delete(clientId)
  }

  #noteOver(key: string, clientId: string): void {
    if (!this.#over.has(key)) add(this.#overOfDevice, this.#options.deviceOf(clientId), 1)
    this.#over.set(key, clientId)
  }

  #newKey(clientId: string): string {
    this.#lastNumber += 1
    return `will:${encodeURIComponent(clientId)}:${this.#lastNumber}`
  }

  #put(key: string, { topic, payload, qos, retain, authMethod }: Will, isOver: boolean): Promise<void> {
    const stored: Stored = {
      topic,
      payload,
      qos,
      retain,
      isOver,
      ...(authMethod === 'password' && { authMethod }),
    }
    return this.#write(key, 'a will could not be kept', () => this.#database.put(key, encode(stored)))
  }

  #del(key: string): Promise<void> {
    return this.#write(key, 'a will could not be removed', () => this.#database.del(key))
  }

  async #write(key: string, failed: string, work: () => Promise<void>): Promise<void> {
    try {
      await this.#turns.take(key, work)
    } catch (error) {
      if (this.#database.closed || this.#throttle(failed) === undefined) return
      const about = { code: 'SESSIONS_UNAVAILABLE', client: clientIdOf(key), detail: messageOf(error) }
      this.#options.log.error(about, failed)
    }
  }
}

/** What aedes asks of its persistence about wills. It publishes none of an earlier run: see wills.ts. */
export class PersistenceWithWills extends AsyncLevelPersistence {
  readonly wills: WillsLevel

  constructor(database: SessionDatabase, options: WillsLevelOptions) {
    super(database)
    this.wills = new WillsLevel(database, options)
  }

  /** The package's own would read all subscriptions into an index that nobody asks. aedes insists on an async function. */
  override async setup(_broker: object): Promise<void> {
    await this.wills.load()
  }

  override putWill(client: ClientLike, will: PacketLike): Promise<void> {
    return this.wills.keep(client, will as Will)
  }

  override async delWill({ id }: ClientLike): Promise<undefined> {
    await this.wills.drop(id)
  }

  /** aedes would publish them all at once, and nobody would catch what one of them throws. */
  override streamWill(): Readable {
    return Readable.from([])
  }
}
