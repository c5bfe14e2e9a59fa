import { isOwnTopic } from '../../admission/routes/topics.ts'

export interface SessionLimits {
  /** Messages kept for one session that is away. */
  queuedMax: number
  /** Of its kept sessions together; of each clean one. */
  subscriptionsPerDeviceMax: number
  retainedMax: number
  retainedPerDeviceMax: number
  /** Of what is kept for a device's sessions and retained on its topics. */
  bytesPerDeviceMax: number
  /** QoS 2 messages of a device that it has not released. */
  unreleasedPerDeviceMax: number
}

/** A message as its record has it, where what is absent is null: of one that is to be released only that is kept. */
export interface Message {
  topic?: string | null | undefined
  payload?: string | Buffer | null | undefined
}

/** What a record holds besides topic and payload, without the session's name in its key: a little more than it is. */
const recordBytes = 512
/** Retained messages on topics that are no device's count together. */
const nobody = ''

/** What the session database holds of messages, and for whom: each device has a bound of bytes (G7). */
export class SessionQuota {
  readonly #limits: SessionLimits
  readonly #deviceOf: (clientId: string) => string
  readonly #bytesOf = new Map<string, number>()
  readonly #queuedFor = new Map<string, number>()
  /** Bytes, by topic. */
  readonly #retained = new Map<string, number>()
  readonly #retainedOf = new Map<string, number>()

  constructor(limits: SessionLimits, deviceOf: (clientId: string) => string) {
    this.#limits = limits
    this.#deviceOf = deviceOf
  }

  /** Messages kept for a session. */
  queuedFor(clientId: string): number {
    return this.#queuedFor.get(clientId) ?? 0
  }

  hasRoomToQueue(clientId: string, message: Message): boolean {
    if (this.queuedFor(clientId) >= this.#limits.queuedMax) return false
    return this.#fits(this.#deviceOf(clientId), queuedBytes(clientId, message))
  }

  queued(clientId: string, message: Message): void {
    add(this.#queuedFor, clientId, 1)
    add(this.#bytesOf, this.#deviceOf(clientId), queuedBytes(clientId, message))
  }

  /** Another record took its place. */
  requeued(clientId: string, before: Message, after: Message): void {
    add(this.#bytesOf, this.#deviceOf(clientId), queuedBytes(clientId, after) - queuedBytes(clientId, before))
  }

  unqueued(clientId: string, message: Message): void {
    add(this.#queuedFor, clientId, -1)
    add(this.#bytesOf, this.#deviceOf(clientId), -queuedBytes(clientId, message))
  }

  /** Bytes that are retained on this topic; undefined: none are. */
  retainedOn(topic: string): number | undefined {
    return this.#retained.get(topic)
  }

  /** In place of what is retained there. */
  hasRoomToRetain(topic: string, message: Message): boolean {
    const before = this.#retained.get(topic)
    const owner = ownerOf(topic)
    const { retainedMax, retainedPerDeviceMax } = this.#limits
    if (before === undefined) {
      if (this.#retained.size >= retainedMax) return false
      if (owner !== nobody && (this.#retainedOf.get(owner) ?? 0) >= retainedPerDeviceMax) return false
    }
    return this.#fits(owner, retainedBytes(topic, message) - (before ?? 0))
  }

  /** Undefined: nothing is any more. */
  retained(topic: string, bytes: number | undefined): void {
    const before = this.#retained.get(topic)
    const owner = ownerOf(topic)
    add(this.#bytesOf, owner, (bytes ?? 0) - (before ?? 0))
    add(this.#retainedOf, owner, Number(bytes !== undefined) - Number(before !== undefined))
    if (bytes === undefined) this.#retained.delete(topic)
    else this.#retained.set(topic, bytes)
  }

  #fits(deviceId: string, bytes: number): boolean {
    return (this.#bytesOf.get(deviceId) ?? 0) + bytes <= this.#limits.bytesPerDeviceMax
  }
}

export function retainedBytes(topic: string, { payload }: Message): number {
  return recordBytes + 2 * Buffer.byteLength(topic) + Buffer.byteLength(payload ?? '')
}

/** A message that was sent has two records, under its place in the queue and under its packet ID. */
function queuedBytes(clientId: string, { topic, payload }: Message): number {
  const nameBytes = encodeURIComponent(clientId).length
  return 2 * (recordBytes + nameBytes + Buffer.byteLength(topic ?? '') + Buffer.byteLength(payload ?? ''))
}

/** The device that the topic belongs to. */
function ownerOf(topic: string): string {
  const deviceId = topic.split('/')[1] ?? ''
  return isOwnTopic(deviceId, topic) ? deviceId : nobody
}

export function add(counts: Map<string, number>, key: string, count: number): void {
  const sum = (counts.get(key) ?? 0) + count
  if (sum > 0) counts.set(key, sum)
  else counts.delete(key)
}
