import type { PacketLike } from 'aedes-persistence-level/asyncPersistence.js'
import { decode, encode } from 'msgpack-lite'
import { codeOf, messageOf } from '../../src/errors.ts'
import type { Logger } from '../../src/log.ts'
import type { SessionDatabase } from './records/database-level.ts'
import { covers } from '../admission/routes/topics.ts'
import type { SessionsObserver } from './observer.ts'
import { retainedBytes, type SessionQuota } from './records/quota.ts'

const prefix = 'retained:'
const all = { gte: prefix, lt: 'retained;' }

/** What is retained on a topic. */
export interface RetainedMessage {
  topic: string
  payload: Buffer
  qos: 0 | 1 | 2
  /** The broker that took it, and its number there: what is published and what is retained are compared by them. */
  brokerId: string | undefined
  brokerCounter: number
}

export interface RetainedLevelOptions {
  quota: SessionQuota
  observer: Pick<SessionsObserver, 'notKept'>
  log: Logger
}

/** The last message with RETAIN of each topic, under the package's keys. */
export class RetainedLevel {
  readonly #database: SessionDatabase
  readonly #options: RetainedLevelOptions
  /** One after the other: of two for one topic the last must win, and whoever subscribes then must find it. */
  #writes: Promise<void> = Promise.resolve()

  constructor(database: SessionDatabase, options: RetainedLevelOptions) {
    this.#database = database
    this.#options = options
  }

  async load(): Promise<void> {
    for await (const [key, value] of this.#database.entries(all)) {
      const topic = topicOf(key)
      this.#options.quota.retained(topic, retainedBytes(topic, decode(value) as PacketLike))
    }
  }

  /** In place of what is retained on its topic; without payload nothing is any more [MQTT-3.3.1-10]. */
  async store(packet: PacketLike): Promise<void> {
    const { quota, observer } = this.#options
    const { topic = '', payload, qos, brokerId, brokerCounter } = packet
    const before = quota.retainedOn(topic)
    let kept: PacketLike = { topic, payload, qos, brokerId, brokerCounter }
    if (payload?.length !== 0 && !quota.hasRoomToRetain(topic, packet)) {
      observer.notKept('retained')
      if (before === undefined) return
      // What is retained there is no longer the last one.
      kept = { topic, payload: Buffer.alloc(0) }
    }
    const bytes = kept.payload?.length === 0 ? undefined : retainedBytes(topic, kept)
    quota.retained(topic, bytes)
    const written = this.#writes.then(() =>
      bytes === undefined
        ? this.#database.del(prefix + topic)
        : this.#database.put(prefix + topic, encode(kept)),
    )
    this.#writes = written.catch(() => {})
    try {
      await written
    } catch (error) {
      if (quota.retainedOn(topic) === bytes) quota.retained(topic, before)
      throw error
    }
  }

  /**
   * What is retained on topics that a filter matches, each as it is when it is asked for. Never throws: then there is
   * no more.
   */
  async *read(filter: string): AsyncGenerator<RetainedMessage> {
    await this.#writes
    try {
      for await (const record of recordsFor(this.#database, filter)) {
        const { topic = '', payload, qos = 0, brokerId, brokerCounter = 0 } = record
        yield { topic, payload: Buffer.from(payload ?? ''), qos, brokerId, brokerCounter }
      }
    } catch (error) {
      if (this.#database.closed || codeOf(error) === 'LEVEL_ITERATOR_NOT_OPEN') return
      this.#options.log.error(
        { code: 'SESSIONS_DAMAGED', detail: messageOf(error) },
        'retained messages could not be read',
      )
    }
  }
}

/** Only the branch that the filter names is read. */
async function* recordsFor(database: SessionDatabase, filter: string): AsyncGenerator<PacketLike> {
  const branch = branchOf(filter)
  const isTopic = branch === filter
  // `a/#` takes in `a` itself.
  const single = isTopic ? filter : filter === `${branch}#` ? branch.slice(0, -1) : ''
  if (single !== '') yield* recordAt(database, prefix + single)
  if (isTopic) return
  for await (const key of database.keys(rangeOf(branch)))
    if (covers(filter, topicOf(key))) yield* recordAt(database, key)
}

/** Read by itself: the range is as it was when it was asked for, and a slow reader is not to be sent what is no longer retained. */
async function* recordAt(database: SessionDatabase, key: string): AsyncGenerator<PacketLike> {
  const record = await database.get(key)
  if (record) yield decode(record) as PacketLike
}

/** The levels before the first wildcard, with the separator. */
function branchOf(filter: string): string {
  const wildcard = filter.search(/[+#]/)
  return wildcard < 0 ? filter : filter.slice(0, wildcard)
}

function rangeOf(branch: string): { gte: string; lt: string } {
  // The byte after the separator's is that of a zero.
  return branch === '' ? all : { gte: prefix + branch, lt: `${prefix}${branch.slice(0, -1)}0` }
}

function topicOf(key: string): string {
  return key.slice(prefix.length)
}
