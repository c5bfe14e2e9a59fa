import type {
  Exchange,
  ExchangeSession,
  Outcome,
  SessionEnd,
  Shipment,
} from '../../../edge/uplink/exchange.ts'
import type { Queued } from '../../../edge/outbox/outbox.ts'

/** An exchange in memory, with the switches that a test needs. Outcomes come in a later turn, as over a wire. */
export class FakeExchange implements Exchange {
  /** What queues hold, in order of arrival. */
  readonly routed: Queued[] = []
  /** How many events were in each message that came, whatever became of it. */
  readonly sizes: number[] = []
  /** False: no queue is bound. */
  bound = true
  /** False: what is published is not answered (until `answer()`). */
  answering = true
  reachable = true
  /** How many messages are answered in one turn. */
  answersMax = Infinity
  /** Messages of more events than this close the session, as RabbitMQ does with what is too large. */
  sizeMax = Infinity
  /** Messages of more events than this are refused, one by one. */
  nackedAbove = Infinity
  /** The broker has told publishers to wait. */
  blocked = false
  private session: FakeSession | undefined
  private reached: (() => void) | undefined
  sessions = 0

  async connect(signal: AbortSignal): Promise<ExchangeSession> {
    while (!this.reachable) {
      await new Promise<void>((resolve, reject) => {
        this.reached = resolve
        signal.addEventListener('abort', () => reject(signal.reason), { once: true })
      })
    }
    signal.throwIfAborted()
    this.sessions += 1
    this.session = new FakeSession(this)
    return this.session
  }

  setReachable(reachable: boolean): void {
    this.reachable = reachable
    if (reachable) this.reached?.()
    else this.cut()
  }

  /** The connection breaks; what was not answered never is. */
  cut(): void {
    this.session?.end({ code: 'CUT', detail: 'the link was cut' })
  }

  answer(): void {
    this.answering = true
    this.session?.flush()
  }

  async close(): Promise<void> {
    await this.session?.close()
  }
}

class FakeSession implements ExchangeSession {
  readonly lost: Promise<SessionEnd>
  private readonly exchange: FakeExchange
  private resolveLost!: (end: SessionEnd) => void
  private listener: ((outcomes: Outcome[]) => void) | undefined
  private unanswered: Shipment[] = []
  private over = false

  constructor(exchange: FakeExchange) {
    this.exchange = exchange
    this.lost = new Promise((resolve) => {
      this.resolveLost = resolve
    })
  }

  get blocked(): boolean {
    return this.exchange.blocked
  }

  publish(shipment: Shipment): void {
    if (this.over) return
    this.exchange.sizes.push(shipment.length)
    if (shipment.length > this.exchange.sizeMax)
      return this.end({
        code: 'PRECONDITION_FAILED',
        detail: 'message size is larger than configured max size',
      })
    if (this.exchange.bound && shipment.length <= this.exchange.nackedAbove)
      this.exchange.routed.push(...shipment)
    this.unanswered.push(shipment)
    if (this.unanswered.length === 1) setImmediate(() => this.flush())
  }

  onOutcomes(listener: (outcomes: Outcome[]) => void): void {
    this.listener = listener
  }

  flush(): void {
    if (this.over || !this.exchange.answering || this.unanswered.length === 0) return
    const shipments = this.unanswered.splice(0, this.exchange.answersMax)
    if (this.unanswered.length > 0) setImmediate(() => this.flush())
    this.listener?.(shipments.map((shipment) => this.outcomeOf(shipment)))
  }

  private outcomeOf(shipment: Shipment): Outcome {
    if (!this.exchange.bound) return { kind: 'refused', shipment, code: 'UNROUTABLE' }
    if (shipment.length > this.exchange.nackedAbove) return { kind: 'refused', shipment, code: 'NACKED' }
    return { kind: 'routed', shipment }
  }

  end(reason: SessionEnd): void {
    this.over = true
    this.resolveLost(reason)
  }

  async close(): Promise<void> {
    this.end({ code: 'CLOSED', detail: 'closed' })
  }
}
