import { Confirms, type Fate } from '../../../src/amqp/confirms.ts'
import { backoffMs } from '../../../src/backoff.ts'
import { codeOf, messageOf } from '../../../src/errors.ts'
import { joinBatch } from '../../../src/contract/batch.ts'
import { partitionOf, routingKey, wire } from '../../../src/contract/wire.ts'
import type {
  Exchange,
  ExchangeSession,
  Outcome,
  SessionEnd,
  Shipment,
} from '../../../edge/uplink/exchange.ts'
import type { SimulatedBroker } from './broker.ts'
import type { Chance } from '../plan/chance.ts'
import type { Journal } from './journal.ts'
import { gatewayName, type Settings } from '../plan/settings.ts'
import type { SimulatedProcess } from './process.ts'
import type { Scheduler } from './scheduler.ts'
import type { Truth } from './truth.ts'

export interface UplinkParts {
  scheduler: Scheduler
  journal: Journal
  random: Chance
  broker: SimulatedBroker
  truth: Truth
  settings: Settings
}

/** Both ends give a silent peer up after this long. */
const heartbeatMs = 20_000

/** The link between the edge and the broker, with everything that can go wrong on it. */
export class Uplink {
  down = false
  /** Swallows everything and says nothing. */
  silent = false
  confirmsToLose = 0
  confirmsToDelay = { count: 0, byMs: 0 }
  nacks = 0
  readonly parts: UplinkParts
  readonly sessions = new Set<SimulatedSession>()

  constructor(parts: UplinkParts) {
    this.parts = parts
  }

  cut(): void {
    this.down = true
    for (const session of this.sessions) session.cut('ECONNRESET', 'the link was cut')
  }

  /** Both ends notice only after a while. */
  goSilent(): void {
    this.silent = true
    for (const session of this.sessions) session.swallow(heartbeatMs)
  }

  heal(): void {
    this.down = false
    this.silent = false
    this.confirmsToLose = 0
    this.confirmsToDelay = { count: 0, byMs: 0 }
    this.nacks = 0
  }

  get usable(): boolean {
    return !this.down && !this.silent && this.parts.broker.up
  }

  /** As the edge process sees it. */
  exchangeFor(process: SimulatedProcess): Exchange {
    const { random, settings, journal } = this.parts
    const reconnect = { delayMsMin: 500, delayMsMax: 5000 }
    let session: SimulatedSession | undefined
    return {
      connect: async (signal) => {
        for (let attempt = 1; ; attempt++) {
          signal.throwIfAborted()
          if (this.usable) {
            await process.step('connect', random.between(1, 5 * settings.latencyMsMax))
            if (this.usable && !signal.aborted) {
              session = new SimulatedSession(this, process)
              this.sessions.add(session)
              journal.tell('edge', 'uplink is up')
              return session
            }
          }
          await process.clock.sleep(backoffMs(attempt, reconnect, random.random), signal)
        }
      },
      close: async () => session?.close(),
    }
  }
}

/** One connection. What is on the wire arrives in order, or, when it is cut, up to some point. */
export class SimulatedSession implements ExchangeSession {
  readonly lost: Promise<SessionEnd>
  private end!: (end: SessionEnd) => void
  private listener: ((outcomes: Outcome[]) => void) | undefined
  private told: Outcome[] = []
  private open = true
  /** What was sent arrives up to this moment. */
  private arrivesUntilMs = Infinity
  private lastArrivalMs = 0
  private readonly wire: { shipment: Shipment; atMs: number }[] = []
  /** The edge counts what it hands over, as the adapter does, and the broker what it reads. */
  private readonly confirms = new Confirms<Shipment>()
  private readCount = 0
  /** What the broker has read and not answered; undefined: it never will. */
  private readonly unanswered = new Map<number, Fate<Shipment>['kind'] | undefined>()
  private unproven = 0
  private readonly uplink: Uplink
  private readonly process: SimulatedProcess
  private readonly connection: { close(): void }

  constructor(uplink: Uplink, process: SimulatedProcess) {
    this.uplink = uplink
    this.process = process
    this.lost = new Promise((resolve) => {
      this.end = resolve
    })
    this.connection = uplink.parts.broker.connected((reason) => this.cut('CONNECTION_FORCED', reason))
  }

  get blocked(): boolean {
    return this.uplink.parts.broker.blocked
  }

  publish(shipment: Shipment): void {
    const { scheduler, random, settings, journal } = this.uplink.parts
    this.process.mayCrash('publish')
    if (!this.process.alive || !this.open) return
    this.unproven += shipment.length
    if (this.unproven > settings.windowEvents) {
      journal.violate('G7', `${this.unproven} events in flight, ${settings.windowEvents} are allowed`)
    }
    const atMs = Math.max(this.lastArrivalMs, scheduler.nowMs + random.between(0.1, settings.latencyMsMax))
    this.lastArrivalMs = atMs
    journal.tell('edge', `publish ${named(shipment)}`)
    if (shipment.length > 1) journal.count('batch')
    this.handOver(shipment, atMs)
    this.process.mayCrash('published')
    scheduler.after(atMs - scheduler.nowMs, () => this.read())
  }

  /** The number is given as the bytes are: nothing comes in between (confirm-channel-rabbit.ts). */
  private handOver(shipment: Shipment, atMs: number): void {
    this.confirms.number(shipment)
    this.wire.push({ shipment, atMs })
  }

  onOutcomes(listener: (outcomes: Outcome[]) => void): void {
    this.listener = listener
  }

  async close(): Promise<void> {
    await this.process.step('disconnect', 1)
    this.cut('CLOSED', 'closed by the gateway')
  }

  /** The edge hears of it now; the broker may still read what is on the wire. */
  cut(code: string, detail: string): void {
    if (!this.open) return
    const { scheduler, random, settings, journal } = this.uplink.parts
    this.open = false
    this.uplink.sessions.delete(this)
    this.connection.close()
    const lateMs = this.uplink.parts.broker.up ? random.between(-1, 2) * settings.latencyMsMax : 0
    this.arrivesUntilMs = Math.min(this.arrivesUntilMs, scheduler.nowMs + lateMs)
    if (this.process.alive) journal.tell('edge', `uplink is lost: ${code}`)
    this.process.later(random.between(0, settings.latencyMsMax), () => this.end({ code, detail }))
  }

  /** Nothing arrives any more, in either direction. */
  swallow(noticedAfterMs: number): void {
    const { scheduler } = this.uplink.parts
    this.arrivesUntilMs = Math.min(this.arrivesUntilMs, scheduler.nowMs)
    scheduler.after(noticedAfterMs, () => this.cut('ETIMEDOUT', 'no heartbeat'))
  }

  /** The broker's end of the wire. */
  private read(): void {
    const { scheduler, broker } = this.uplink.parts
    while (this.wire[0] && this.wire[0].atMs <= scheduler.nowMs) {
      if (scheduler.nowMs > this.arrivesUntilMs || !broker.up) {
        this.wire.length = 0
        return
      }
      if (broker.blocked) {
        scheduler.after(100, () => this.read())
        return
      }
      const { shipment } = this.wire.shift() as { shipment: Shipment }
      this.arrive(shipment)
    }
  }

  private arrive(shipment: Shipment): void {
    const { scheduler, random, settings, journal, truth } = this.uplink.parts
    const tag = ++this.readCount
    if (shipment.length > settings.uplinkSizeMax) {
      journal.count('batch too large')
      // It closes the channel: of what is behind that it reads nothing.
      this.arrivesUntilMs = -Infinity
      return this.cut('PRECONDITION_FAILED', 'message size is larger than configured max size')
    }
    const fate = this.take(shipment)
    journal.tell('broker', `${fate === 'routed' ? 'stored' : fate} ${named(shipment)}`)
    if (fate !== 'routed') for (const { text } of shipment) truth.refused.add(text)
    if (this.uplink.confirmsToLose > 0) {
      this.uplink.confirmsToLose -= 1
      this.unanswered.set(tag, undefined)
      journal.count('confirm-lost')
      return
    }
    this.unanswered.set(tag, fate)
    // Confirms need not come in order.
    let delayMs = random.between(0.1, settings.latencyMsMax * (random.one(0.2) ? 3 : 1))
    if (this.uplink.confirmsToDelay.count > 0) {
      this.uplink.confirmsToDelay.count -= 1
      journal.count('confirm-late')
      delayMs += this.uplink.confirmsToDelay.byMs
    }
    scheduler.after(delayMs, () => this.answer(tag))
  }

  /** One answer for all up to this one, where it is the same for all that have none yet; else for this one alone. */
  private answer(tag: number): void {
    const fate = this.unanswered.get(tag)
    if (fate === undefined || !this.open || !this.process.alive || this.uplink.silent) return
    const upTo = [...this.unanswered].filter(([number]) => number <= tag)
    const same = upTo.every(
      ([, other]) => other !== undefined && (other === 'nacked') === (fate === 'nacked'),
    )
    const together = same && this.uplink.parts.random.one(0.5)
    try {
      // A return comes before its confirm.
      for (const [number, other] of together ? upTo : [[tag, fate] as const]) {
        this.unanswered.delete(number)
        if (other === 'unroutable') this.confirms.returned(number)
      }
      const kind = fate === 'nacked' ? 'nack' : 'ack'
      this.tell(this.confirms.answered(kind, tag, together).map(outcomeOf))
    } catch (error) {
      this.cut(codeOf(error), messageOf(error))
    }
  }

  private take(shipment: Shipment): Fate<Shipment>['kind'] {
    const { journal, truth, random } = this.uplink.parts
    if (this.uplink.nacks > 0) {
      this.uplink.nacks -= 1
      journal.count('nack')
      // A nack says nothing about whether the message is there.
      if (random.one(0.7)) return 'nacked'
      this.store(shipment)
      return 'nacked'
    }
    const answer = this.store(shipment)
    if (answer === 'refused') {
      journal.count('nack: a queue is full')
      return 'nacked'
    }
    if (answer === 'unroutable') {
      journal.count('unroutable')
      return 'unroutable'
    }
    for (const event of shipment) truth.reachedQueue(event)
    return 'routed'
  }

  private store(shipment: Shipment): ReturnType<SimulatedBroker['publish']> {
    const { broker, settings } = this.uplink.parts
    const [first] = shipment
    const alone = shipment.length === 1
    const texts = shipment.map(({ text }) => text)
    return broker.publish({
      body: alone ? Buffer.from(first.text) : joinBatch(texts, settings.compress),
      exchange: wire.exchange,
      routingKey: routingKey(partitionOf(first.deviceId, settings.partitions), first.type),
      properties: {
        userId: gatewayName,
        type: first.type,
        timestamp: Math.floor(first.recordedAtMs / 1000),
        contentType: alone ? wire.contentType : wire.batchContentType,
        ...(alone ? { messageId: first.id } : settings.compress && { contentEncoding: wire.deflate }),
      },
      headers: {},
    })
  }

  private tell(outcomes: readonly Outcome[]): void {
    const first = this.told.length === 0
    this.told.push(...outcomes)
    if (!first) return
    // Those that come in the same moment are told together.
    this.process.later(this.uplink.parts.random.pick([0, 0, 0.5, 2]), () => {
      const outcomes = this.told
      this.told = []
      this.process.mayCrash('confirm')
      if (!this.process.alive || !this.open) return
      this.unproven -= outcomes.reduce((sum, { shipment }) => sum + shipment.length, 0)
      this.listener?.(outcomes)
      this.process.mayCrash('confirmed')
    })
  }
}

function named(shipment: Shipment): string {
  return shipment.map(({ sequence, id }) => `${sequence} ${id}`).join(' + ')
}

function outcomeOf({ kind, item: shipment }: Fate<Shipment>): Outcome {
  if (kind === 'routed') return { kind, shipment }
  return { kind: 'refused', shipment, code: kind === 'nacked' ? 'NACKED' : 'UNROUTABLE' }
}
