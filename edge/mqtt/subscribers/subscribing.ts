import type { TopicRules } from '../../admission/routes/topics.ts'
import type { SubscriptionRequest } from '../door/requests.ts'

/** Who subscribes: one connection of a session. */
export interface Subscriber {
  readonly id: string
  readonly clean: boolean
  /** What it has subscribed to, with the QoS of each. */
  readonly filters: ReadonlyMap<string, number>
  /** Whether its device may have one more filter that is so long, in all its sessions. */
  hasRoom(filter: string): boolean
  subscribe(filter: string, qos: number): void
  unsubscribe(filter: string): void
  /** Sends what is retained for a filter. */
  askRetained(filter: string, qos: number): void
  /** Resolves when the socket has taken it. */
  write(packet: Buffer): Promise<void>
}

export interface SubscribingParts {
  rules: Pick<TopicRules, 'maySubscribe'>
  deviceOf: (clientId: string) => string
  /** Of kept sessions; of each filter, whether there is room for it. */
  kept: {
    subscribe(clientId: string, wanted: { topic: string; qos: number }[]): Promise<boolean[]>
    unsubscribe(clientId: string, filters: string[]): Promise<void>
  }
  /** Subscriptions of one clean session. */
  subscriptionsMax: number
  onForbidden: (deviceId: string, filter: string) => void
  /** The filter is one too many. */
  onTooMany: (deviceId: string) => void
}

/** SUBACK's return code of a filter that is refused (MQTT 3.1.1, 3.9.3). */
const refused = 0x80

/** Answers SUBSCRIBE and UNSUBSCRIBE: each filter by itself, in order, as if each had come alone [MQTT-3.8.4-4]. */
export class Subscribing {
  readonly #parts: SubscribingParts

  constructor(parts: SubscribingParts) {
    this.#parts = parts
  }

  /** Resolves when the answer is sent. Rejects when a subscription of a kept session could not be stored. */
  async answer(subscriber: Subscriber, request: SubscriptionRequest): Promise<void> {
    if (request.kind === 'subscribe') await this.#subscribe(subscriber, request)
    else await this.#unsubscribe(subscriber, request)
  }

  async #subscribe(subscriber: Subscriber, { packetId, filters }: SubscriptionRequest): Promise<void> {
    const { deviceOf, onTooMany } = this.#parts
    const deviceId = deviceOf(subscriber.id)
    const allowed = filters.filter((wanted) => this.#isAllowed(deviceId, wanted.filter))
    const made = subscriber.clean
      ? this.#subscribeClean(subscriber, allowed)
      : await this.#subscribeKept(subscriber, allowed)
    for (let tooMany = allowed.length - made.size; tooMany > 0; tooMany -= 1) onTooMany(deviceId)
    const codes = filters.map((wanted) => (made.has(wanted) ? wanted.qos : refused))
    const written = subscriber.write(suback(packetId, codes))
    // What is published from now on is sent as it comes, and not once more for being retained.
    for (const { filter, qos } of made) subscriber.askRetained(filter, qos)
    await written
  }

  #isAllowed(deviceId: string, filter: string): boolean {
    const isAllowed = this.#parts.rules.maySubscribe(deviceId, filter)
    if (!isAllowed) this.#parts.onForbidden(deviceId, filter)
    return isAllowed
  }

  #subscribeClean(subscriber: Subscriber, allowed: Wanted[]): Set<Wanted> {
    const made = new Set<Wanted>()
    for (const wanted of allowed) {
      const { filter, qos } = wanted
      const isNew = !subscriber.filters.has(filter)
      if (isNew && subscriber.filters.size >= this.#parts.subscriptionsMax) continue
      if (isNew && !subscriber.hasRoom(filter)) continue
      subscriber.subscribe(filter, qos)
      made.add(wanted)
    }
    return made
  }

  async #subscribeKept(subscriber: Subscriber, allowed: Wanted[]): Promise<Set<Wanted>> {
    const taken = await this.#parts.kept.subscribe(
      subscriber.id,
      allowed.map(({ filter, qos }) => ({ topic: filter, qos })),
    )
    const made = new Set(allowed.filter((_, index) => taken[index]))
    for (const { filter, qos } of made) subscriber.subscribe(filter, qos)
    return made
  }

  async #unsubscribe(subscriber: Subscriber, { packetId, filters }: SubscriptionRequest): Promise<void> {
    for (const { filter } of filters) subscriber.unsubscribe(filter)
    if (!subscriber.clean) {
      const names = filters.map(({ filter }) => filter)
      await this.#parts.kept.unsubscribe(subscriber.id, names)
    }
    await subscriber.write(Buffer.from([0xb0, 2, packetId >> 8, packetId & 0xff]))
  }
}

type Wanted = SubscriptionRequest['filters'][number]

function suback(packetId: number, codes: number[]): Buffer {
  const length = 2 + codes.length
  // The length is written in groups of seven bits (2.2.3).
  const digits: number[] = []
  for (let rest = length; digits.length === 0 || rest > 0; rest >>= 7)
    digits.push((rest & 0x7f) | (rest > 0x7f ? 0x80 : 0))
  return Buffer.from([0x90, ...digits, packetId >> 8, packetId & 0xff, ...codes])
}
