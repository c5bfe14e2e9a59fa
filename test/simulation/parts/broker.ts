import { matchesTopic } from '../../../src/contract/wire.ts'
import type { Topology } from '../../../cloud/amqp/topology.ts'
import { wire } from '../../../src/contract/wire.ts'
import type { Journal } from './journal.ts'
import type { Scheduler } from './scheduler.ts'

export interface Message {
  body: Buffer
  exchange: string
  routingKey: string
  properties: Readonly<Record<string, string | number>>
  headers: Readonly<Record<string, unknown>>
}

/** A consumer's place in the line of a queue. */
export interface Subscription {
  readonly prefetch: number
  readonly unacked: Map<number, Message & { redelivered: boolean }>
  deliver(tag: number, message: Message & { redelivered: boolean }): void
  /** The broker gave the channel up. */
  cut(): void
  lastTag: number
}

interface Queue {
  readonly name: string
  readonly single: boolean
  readonly ttlMs: number | undefined
  /** At a limit the newest is refused; else the oldest is dropped, which is RabbitMQ's default. */
  readonly refuses: boolean
  ready: { message: Message; redelivered: boolean }[]
  line: Subscription[]
}

/**
 * RabbitMQ as far as Tidegate can tell: a topic exchange, rungs, queues that outlive a restart, a single active
 * consumer, redelivery in order of whatever was not acknowledged.
 */
export class SimulatedBroker {
  up = true
  /** Faults: without its queues the exchange routes nothing; blocked, it reads from no publisher. */
  unroutable = false
  blocked = false
  /** What a policy of an administrator allows every queue to hold. */
  lengthLimit: number | undefined
  acksToLose = 0
  lettersToRefuse = 0
  letterConfirmsToLose = 0
  /** Queues whose consumers are connected by half: their acknowledgements come no longer, and nobody has noticed yet. */
  private readonly swallowing = new Set<string>()
  readonly queues = new Map<string, Queue>()
  private readonly fanouts = new Set<string>()
  private bindings: Topology['bindings'] = []
  private readonly connections = new Set<(reason: string) => void>()
  private readonly parts: { scheduler: Scheduler; journal: Journal }

  constructor(parts: { scheduler: Scheduler; journal: Journal }) {
    this.parts = parts
  }

  declare(topology: Topology): void {
    for (const { name, type } of topology.exchanges) if (type === 'fanout') this.fanouts.add(name)
    for (const { name, arguments: given } of topology.queues) {
      const ttl = given['x-message-ttl']
      this.queues.set(name, {
        name,
        single: given['x-single-active-consumer'] === true,
        ttlMs: typeof ttl === 'number' ? ttl : undefined,
        refuses: given['x-overflow'] === 'reject-publish',
        ready: [],
        line: [],
      })
    }
    this.bindings = [...this.bindings, ...topology.bindings]
  }

  /** Unroutable: no queue took it, and it is returned. Refused: at least one did not take it, though others may have. */
  publish(message: Message): 'routed' | 'unroutable' | 'refused' {
    const queues = this.route(message.exchange, message.routingKey)
    const refusing = queues.filter((queue) => queue.refuses && this.isFull(queue))
    for (const queue of queues) if (!refusing.includes(queue)) this.enqueue(queue, message)
    if (queues.length === 0) return 'unroutable'
    return refusing.length > 0 ? 'refused' : 'routed'
  }

  private isFull(queue: Queue): boolean {
    return this.lengthLimit !== undefined && queue.ready.length >= this.lengthLimit
  }

  /** Called when the broker goes down; the connection is over. */
  connected(lost: (reason: string) => void): { close(): void } {
    this.connections.add(lost)
    return { close: () => this.connections.delete(lost) }
  }

  restart(forMs: number): void {
    this.parts.journal.tell('broker', 'goes down')
    this.up = false
    for (const queue of this.queues.values()) for (const member of queue.line) member.cut()
    for (const lost of this.connections) lost('the broker went down')
    this.connections.clear()
    this.parts.scheduler.after(forMs, () => {
      this.up = true
      this.parts.journal.tell('broker', 'is up')
      for (const queue of this.queues.values()) this.pump(queue)
    })
  }

  heal(): void {
    this.up = true
    this.unroutable = false
    this.blocked = false
    this.lengthLimit = undefined
    this.acksToLose = 0
    this.lettersToRefuse = 0
    this.letterConfirmsToLose = 0
    for (const name of this.swallowing) this.cutSilent(name)
    for (const queue of this.queues.values()) this.pump(queue)
  }

  subscribe(name: string, subscription: Subscription): boolean {
    const queue = this.queues.get(name)
    if (!queue || !this.up) return false
    queue.line.push(subscription)
    this.pump(queue)
    return true
  }

  acknowledge(name: string, subscription: Subscription, upTo: number): void {
    const queue = this.queues.get(name)
    if (!queue?.line.includes(subscription)) return
    if (this.acksToLose > 0) {
      this.acksToLose -= 1
      this.parts.journal.count('ack-lost')
      this.parts.journal.tell('broker', `${name}: an acknowledgement is lost; the consumer is cut off`)
      subscription.cut()
      return
    }
    if (this.swallowing.has(name)) {
      this.parts.journal.count('ack-swallowed')
      return
    }
    for (const tag of subscription.unacked.keys()) if (tag <= upTo) subscription.unacked.delete(tag)
    this.pump(queue)
  }

  /** Until it is noticed that they are dead, the consumers of a queue are heard no longer. */
  swallowAcks(name: string, forMs: number): void {
    this.swallowing.add(name)
    this.parts.scheduler.after(forMs, () => this.cutSilent(name))
  }

  private cutSilent(name: string): void {
    if (!this.swallowing.delete(name)) return
    this.parts.journal.tell('broker', `${name}: its consumer has been silent for too long, and is cut off`)
    for (const member of this.queues.get(name)?.line ?? []) member.cut()
  }

  /** What it had not acknowledged goes back to where it was, for the next in line. */
  leave(name: string, subscription: Subscription): void {
    const queue = this.queues.get(name)
    if (!queue?.line.includes(subscription)) return
    queue.line = queue.line.filter((member) => member !== subscription)
    const back = [...subscription.unacked.values()].map((message) => ({ message, redelivered: true }))
    queue.ready = [...back, ...queue.ready]
    subscription.unacked.clear()
    this.pump(queue)
  }

  /** Queues that still hold something that is to be worked on. */
  working(): string[] {
    return [...this.queues.values()]
      .filter(({ name, ready, line }) => {
        const settled = /\.dead\.v\d+$/.test(name) || name === wire.unroutable
        return !settled && (ready.length > 0 || line.some((member) => member.unacked.size > 0))
      })
      .map((queue) => queue.name)
  }

  messages(name: string): Message[] {
    return this.queues.get(name)?.ready.map(({ message }) => message) ?? []
  }

  private route(exchange: string, routingKey: string): Queue[] {
    if (exchange === '') return this.named([routingKey])
    if (this.fanouts.has(exchange)) {
      return this.named(this.bindings.filter((to) => to.exchange === exchange).map((to) => to.queue))
    }
    if (this.unroutable) return []
    const bound = this.bindings.filter(
      (to) => to.exchange === exchange && matchesTopic(to.routingKey, routingKey),
    )
    const names = new Set(bound.map((to) => to.queue))
    return this.named(names.size > 0 ? [...names] : [wire.unroutable])
  }

  private named(names: string[]): Queue[] {
    return names.map((name) => this.queues.get(name)).filter((queue) => queue !== undefined)
  }

  private enqueue(queue: Queue, message: Message): void {
    if (this.isFull(queue)) queue.ready.shift()
    queue.ready.push({ message, redelivered: false })
    if (queue.ttlMs !== undefined) this.parts.scheduler.after(queue.ttlMs, () => this.expire(queue, message))
    else this.pump(queue)
  }

  /** A rung: by its own routing key back to the queue it failed in (at-least-once dead lettering). */
  private expire(queue: Queue, message: Message): void {
    if (!this.up) {
      this.parts.scheduler.after(1000, () => this.expire(queue, message))
      return
    }
    const headers = { ...message.headers, 'x-death': [{ queue: queue.name, reason: 'expired' }] }
    // What is refused stays on the rung and is tried again.
    if (this.publish({ ...message, exchange: '', headers }) === 'refused') {
      this.parts.scheduler.after(1000, () => this.expire(queue, message))
      return
    }
    queue.ready = queue.ready.filter((waiting) => waiting.message !== message)
  }

  private pump(queue: Queue): void {
    if (!this.up) return
    for (;;) {
      const member = queue.single
        ? queue.line.slice(0, 1).find(hasRoom)
        : queue.line.filter(hasRoom).toSorted((a, b) => a.unacked.size - b.unacked.size)[0]
      const next = member && queue.ready.shift()
      if (!next) return
      const tag = ++member.lastTag
      const message = { ...next.message, redelivered: next.redelivered }
      if (next.redelivered) this.parts.journal.count('redelivered')
      member.unacked.set(tag, message)
      member.deliver(tag, message)
    }
  }
}

function hasRoom(subscription: Subscription): boolean {
  return subscription.unacked.size < subscription.prefetch
}
