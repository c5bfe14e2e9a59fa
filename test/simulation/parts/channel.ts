import { EventEmitter } from 'node:events'
import type { Channel } from 'rabbitmq-client'
import type { AmqpConnection } from '../../../cloud/amqp/connection-rabbit.ts'
import type { Message, SimulatedBroker, Subscription } from './broker.ts'
import type { Chance } from '../plan/chance.ts'
import type { SimulatedProcess } from './process.ts'
import type { Scheduler } from './scheduler.ts'

export interface ChannelParts {
  scheduler: Scheduler
  random: Chance
  broker: SimulatedBroker
  latencyMsMax: number
}

type Take = (message: Record<string, unknown>) => void

/** As much of the client's channel as a consumer uses, in front of the simulated broker. */
export class SimulatedChannel extends EventEmitter implements Subscription {
  active = true
  prefetch = 1
  lastTag = 0
  readonly unacked: Subscription['unacked'] = new Map()
  private queue = ''
  private severed = false
  private take: Take | undefined
  private arrivalMs = 0
  private ackArrivalMs = 0
  private readonly process: SimulatedProcess
  private readonly parts: ChannelParts

  constructor(process: SimulatedProcess, parts: ChannelParts) {
    super()
    this.process = process
    this.parts = parts
  }

  async basicQos({ prefetchCount }: { prefetchCount: number }): Promise<void> {
    await this.process.step('channel qos', this.latencyMs())
    this.prefetch = prefetchCount
  }

  async basicConsume({ queue }: { queue: string }, take: Take): Promise<void> {
    await this.process.step('channel consume', this.latencyMs())
    this.queue = queue
    this.take = take
    if (this.severed || !this.parts.broker.subscribe(queue, this)) {
      this.cut()
      throw Object.assign(new Error('the channel is closed'), { code: 'CH_CLOSE' })
    }
    await this.process.step('channel consuming', 0)
  }

  /** The broker sent a message; it is on the wire, behind those before it. */
  deliver(tag: number, message: Message & { redelivered: boolean }): void {
    const { scheduler } = this.parts
    this.arrivalMs = Math.max(this.arrivalMs, scheduler.nowMs + this.latencyMs())
    this.process.later(this.arrivalMs - scheduler.nowMs, () => {
      if (!this.active) return
      this.process.mayCrash('delivery')
      if (!this.process.alive) return
      const { body, exchange, routingKey, headers, properties, redelivered } = message
      this.take?.({ ...properties, body, exchange, routingKey, headers, redelivered, deliveryTag: tag })
    })
  }

  async queueDeclare({ queue }: { queue: string }): Promise<{ messageCount: number; consumerCount: number }> {
    await this.process.step('channel declare', this.latencyMs())
    const { ready, line } = this.parts.broker.queues.get(queue) as { ready: unknown[]; line: unknown[] }
    return { messageCount: ready.length, consumerCount: line.length }
  }

  basicAck({ deliveryTag }: { deliveryTag: number; multiple: boolean }): void {
    this.process.mayCrash('acknowledge')
    if (!this.process.alive) return
    const { queue } = this
    this.onWire(() => this.parts.broker.acknowledge(queue, this, deliveryTag))
  }

  async close(): Promise<void> {
    if (!this.active) return
    this.active = false
    this.onWire(() => this.parts.broker.leave(this.queue, this))
    await this.process.step('channel close', this.latencyMs())
    this.emit('close')
  }

  /** The broker knows at once, the client a little later: until then it works on what is no longer its own. */
  cut(): void {
    this.severed = true
    this.parts.broker.leave(this.queue, this)
    this.process.later(this.parts.random.between(0, 10 * this.latencyMs()), () => {
      if (!this.active) return
      this.active = false
      this.emit('close')
    })
  }

  private onWire(arrive: () => void): void {
    const { scheduler } = this.parts
    this.ackArrivalMs = Math.max(this.ackArrivalMs, scheduler.nowMs + this.latencyMs())
    scheduler.after(this.ackArrivalMs - scheduler.nowMs, arrive)
  }

  private latencyMs(): number {
    return this.parts.random.between(0.1, this.parts.latencyMsMax)
  }
}

/** A connection that gives such channels, and remembers them. */
export function connectionFor(
  process: SimulatedProcess,
  parts: ChannelParts,
  channels: Set<SimulatedChannel>,
): AmqpConnection {
  const acquire = async (): Promise<Channel> => {
    await process.step('channel open', parts.random.between(1, 5 * parts.latencyMsMax))
    if (!parts.broker.up) {
      await process.step('channel refused', 1000)
      throw Object.assign(new Error('connection refused'), { code: 'ECONNREFUSED' })
    }
    const channel = new SimulatedChannel(process, parts)
    channels.add(channel)
    channel.once('close', () => channels.delete(channel))
    return channel as unknown as Channel
  }
  return { user: 'cloud', client: { acquire } } as unknown as AmqpConnection
}
