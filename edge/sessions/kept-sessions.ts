import { DeepFilters, TopicTree } from '../admission/routes/topic-tree.ts'
import { add } from './records/quota.ts'

/**
 * The only thing that aedes is told of what a session has subscribed to: that the session is there, without which it would
 * answer "no session" [MQTT-3.2.2-2]. No device may subscribe to it.
 */
export const sessionMark = '$session'

export interface Subscription {
  clientId: string
  topic: string
  qos: number
}

export interface KeptSessionsOptions {
  /** Subscriptions of a device's kept sessions together; and as many sessions of it that have none. */
  perDeviceMax: number
  deviceOf: (clientId: string) => string
  /** Whether it has a connection. */
  isPresent: (clientId: string) => boolean
}

/**
 * The sessions that are kept, each with what it subscribed to, which may be nothing: it is there all the same
 * [MQTT-3.2.2-2]. A session is known by its client ID.
 */
export class KeptSessions {
  /** Of kept sessions, and of clean ones, which are known elsewhere. */
  readonly deepFilters = new DeepFilters()
  readonly #options: KeptSessionsOptions
  readonly #tree = new TopicTree<string, Subscription>()
  /** By client ID. */
  readonly #filtersOf = new Map<string, Map<string, number>>()
  readonly #subscriptionsOf = new Map<string, number>()
  /** Without subscriptions, by device: the one that connected least recently first. */
  readonly #bareOf = new Map<string, Set<string>>()

  constructor(options: KeptSessionsOptions) {
    this.#options = options
  }

  has(clientId: string): boolean {
    return this.#filtersOf.has(clientId)
  }

  /** A session connects: whether it is a new one, and those without subscriptions, and without a connection, that are forgotten for it. */
  begin(clientId: string): { isNew: boolean; forgotten: string[] } {
    const isNew = !this.#filtersOf.has(clientId)
    if (isNew) this.#filtersOf.set(clientId, new Map())
    if (this.filtersOf(clientId).size > 0) return { isNew, forgotten: [] }
    const bare = this.#bareOf.get(this.#options.deviceOf(clientId)) ?? new Set()
    bare.delete(clientId)
    const away = [...bare].filter((one) => !this.#options.isPresent(one))
    const forgotten = away.slice(0, Math.max(0, bare.size + 1 - this.#options.perDeviceMax))
    for (const one of forgotten) this.end(one)
    this.#setBare(clientId, true)
    return { isNew, forgotten }
  }

  /** What was kept of it is over; what it had subscribed to. */
  end(clientId: string): string[] {
    const filters = [...this.filtersOf(clientId).keys()]
    for (const filter of filters) this.unsubscribe(clientId, filter)
    this.#setBare(clientId, false)
    this.#filtersOf.delete(clientId)
    return filters
  }

  /** With the QoS of each. */
  filtersOf(clientId: string): ReadonlyMap<string, number> {
    return this.#filtersOf.get(clientId) ?? new Map()
  }

  /** False: its device has as many subscriptions as it may, or its filters are as long together as they may be. */
  subscribe(subscription: Subscription): boolean {
    const { clientId, topic } = subscription
    const { deviceOf, perDeviceMax } = this.#options
    const deviceId = deviceOf(clientId)
    const isNew = !this.filtersOf(clientId).has(topic)
    if (isNew && (this.#subscriptionsOf.get(deviceId) ?? 0) >= perDeviceMax) return false
    if (isNew && !this.deepFilters.hasRoom(deviceId, topic)) return false
    this.load(subscription)
    return true
  }

  /** One that was made before, whatever the bound is now. */
  load(subscription: Subscription): void {
    const { clientId, topic, qos } = subscription
    const filters = this.#filtersOf.get(clientId) ?? new Map<string, number>()
    if (!filters.has(topic)) {
      const deviceId = this.#options.deviceOf(clientId)
      add(this.#subscriptionsOf, deviceId, 1)
      this.deepFilters.add(deviceId, topic)
    }
    this.#filtersOf.set(clientId, filters.set(topic, qos))
    this.#tree.set(topic, clientId, subscription)
    this.#setBare(clientId, false)
  }

  unsubscribe(clientId: string, topic: string): void {
    const filters = this.#filtersOf.get(clientId)
    if (!filters?.delete(topic)) return
    const deviceId = this.#options.deviceOf(clientId)
    add(this.#subscriptionsOf, deviceId, -1)
    this.deepFilters.remove(deviceId, topic)
    this.#tree.delete(topic, clientId)
    if (filters.size === 0) this.#setBare(clientId, true)
  }

  /** Of all subscriptions: grows with each change. */
  get changes(): number {
    return this.#tree.changes
  }

  /** Whether any session, there or away, has subscribed to it. */
  wants(topic: string): boolean {
    return this.#tree.has(topic)
  }

  /** One subscription per session, the one with the highest QoS [MQTT-3.3.5-1]. */
  match(topic: string): Subscription[] {
    if (this.#tree.isEmpty) return []
    const best = new Map<string, Subscription>()
    this.#tree.match(topic, (clientId, subscription) => {
      if ((best.get(clientId)?.qos ?? -1) < subscription.qos) best.set(clientId, subscription)
    })
    return [...best.values()]
  }

  #setBare(clientId: string, isBare: boolean): void {
    const deviceId = this.#options.deviceOf(clientId)
    const bare = this.#bareOf.get(deviceId) ?? new Set()
    if (isBare) this.#bareOf.set(deviceId, bare.add(clientId))
    else if (bare.delete(clientId) && bare.size === 0) this.#bareOf.delete(deviceId)
  }
}
