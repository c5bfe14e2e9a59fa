import { TidegateError } from '../../src/errors.ts'

export interface Subscription {
  clientId: string
  topic: string
  qos: number
}

interface Node {
  children: Map<string, Node>
  /** By client. */
  subscriptions: Map<string, Subscription>
}

/** Which kept sessions want a topic: a tree of topic levels, so that the cost is per level, not per session. */
export class SubscriptionIndex {
  readonly #root: Node = emptyNode()
  readonly #byClient = new Map<string, Set<string>>()

  add(subscription: Subscription): void {
    const node = subscription.topic.split('/').reduce(childOf, this.#root)
    node.subscriptions.set(subscription.clientId, subscription)
    const filters = this.#byClient.get(subscription.clientId) ?? new Set()
    this.#byClient.set(subscription.clientId, filters.add(subscription.topic))
  }

  remove(clientId: string, topic: string): void {
    const filters = this.#byClient.get(clientId)
    if (!filters?.delete(topic)) return
    if (filters.size === 0) this.#byClient.delete(clientId)
    prune(this.#root, topic.split('/'), 0, clientId)
  }

  has(clientId: string, topic: string): boolean {
    return this.#byClient.get(clientId)?.has(topic) ?? false
  }

  /** One subscription per client, the one with the highest QoS (MQTT 3.1.1, 3.3.5). */
  match(topic: string): Subscription[] {
    if (this.#byClient.size === 0) return []
    const found = new Map<string, Subscription>()
    collect(this.#root, topic.split('/'), 0, found)
    return [...found.values()]
  }
}

/**
 * How many subscriptions each clean session has: they end with its connection, and `SubscriptionIndex` knows none of
 * them. A session is known by the object that aedes has for its connection.
 */
export class CleanSubscriptions {
  readonly #perSessionMax: number
  readonly #filtersOf = new WeakMap<object, Set<string>>()

  constructor(perSessionMax: number) {
    this.#perSessionMax = perSessionMax
  }

  /** False: the session has as many as it may, and this one is not counted. */
  add(session: object, filter: string): boolean {
    const filters = this.#filtersOf.get(session) ?? new Set()
    this.#filtersOf.set(session, filters)
    if (filters.size >= this.#perSessionMax && !filters.has(filter)) return false
    filters.add(filter)
    return true
  }

  remove(session: object, filters: readonly string[]): void {
    for (const filter of filters) this.#filtersOf.get(session)?.delete(filter)
  }
}

export function tooManySubscriptions(deviceId: string, max: number): TidegateError {
  return new TidegateError('SUBSCRIPTIONS_MAX', {
    message: `${deviceId} has more than ${max} subscriptions in a clean session, or in its kept ones`,
    retryable: false,
    hint: 'unsubscribe what is not needed, or raise mqtt.sessions.subscriptionsPerDeviceMax',
  })
}

function emptyNode(): Node {
  return { children: new Map(), subscriptions: new Map() }
}

function childOf(node: Node, level: string): Node {
  const child = node.children.get(level) ?? emptyNode()
  node.children.set(level, child)
  return child
}

function collect(node: Node, levels: string[], depth: number, found: Map<string, Subscription>): void {
  // Wildcards do not reach topics of the server's own [MQTT-4.7.2-1].
  const wild = depth > 0 || !levels[0]?.startsWith('$')
  const rest = wild ? node.children.get('#') : undefined
  if (rest) keepHighest(rest, found)
  const level = levels[depth]
  if (level === undefined) {
    keepHighest(node, found)
    return
  }
  const exact = node.children.get(level)
  if (exact) collect(exact, levels, depth + 1, found)
  const any = wild ? node.children.get('+') : undefined
  if (any) collect(any, levels, depth + 1, found)
}

function keepHighest(node: Node, found: Map<string, Subscription>): void {
  for (const [clientId, subscription] of node.subscriptions) {
    if ((found.get(clientId)?.qos ?? -1) < subscription.qos) found.set(clientId, subscription)
  }
}

/** Whether the node is empty now. */
function prune(node: Node, levels: string[], depth: number, clientId: string): boolean {
  const level = levels[depth]
  if (level === undefined) node.subscriptions.delete(clientId)
  else {
    const child = node.children.get(level)
    if (child && prune(child, levels, depth + 1, clientId)) node.children.delete(level)
  }
  return node.children.size === 0 && node.subscriptions.size === 0
}
