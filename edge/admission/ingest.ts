import type { Clock } from '../../src/clock.ts'
import { isAbort, TidegateError } from '../../src/errors.ts'
import type { Logger } from '../../src/log.ts'
import { createThrottledWarn, type ThrottledWarn } from '../../src/throttle.ts'
import { UnderWay } from '../../src/under-way.ts'
import type { Admit } from './admission.ts'
import type { IngestObserver } from './observer.ts'
import type { Outbox } from '../outbox/outbox.ts'
import type { RouteMatch, Routes } from './routes.ts'
import type { TopicRules } from './topics.ts'

export interface Publisher {
  deviceId: string
  clientId: string
  /** Withdraws what waits for room. */
  signal: AbortSignal
  /** Absent for a will, whose connection is over, and for a publish that its connection counts already. */
  pressure?: Pressure
}

/** Where it is felt how much is not answered yet: who publishes faster than that is read no further (G7). */
export interface Pressure {
  /** A publish of so many payload bytes is being admitted. */
  began(payloadBytes: number): void
  ended(payloadBytes: number): void
}

/** Whether it may be acknowledged; `withdrawn`: nobody is there any more who could be told. */
export type Verdict = 'acknowledge' | 'withdrawn'

export interface Publish {
  topic: string
  payload: string | Buffer
  qos: 0 | 1 | 2
  retain: boolean
}

export interface IngestOptions {
  rules: Pick<TopicRules, 'mayPublish'>
  routes: Routes
  admit: Admit
  outbox: Pick<Outbox, 'append'>
  observer: IngestObserver
  clock: Clock
  log: Logger
}

export interface Ingest {
  /**
   * Resolves when the publish may be acknowledged: its event is durable (G1), or it is none; `withdrawn` when its
   * signal was aborted before.
   * @throws TidegateError it must not be acknowledged: `TOPIC_FORBIDDEN`, or as `Outbox.append` does.
   */
  publish(publisher: Publisher, packet: Publish): Promise<Verdict>
  /** Resolves when nothing is being admitted. */
  settled(): Promise<void>
}

/** The way of a publish: may it, is it an event, admit it, make it durable, then acknowledge. */
export function createIngest(options: IngestOptions): Ingest {
  return new OutboxIngest(options)
}

class OutboxIngest implements Ingest {
  readonly #options: IngestOptions
  readonly #underWay = new UnderWay()
  readonly #warn: ThrottledWarn

  constructor(options: IngestOptions) {
    this.#options = options
    this.#warn = createThrottledWarn(options.log, options.clock, 10_000)
  }

  async publish(publisher: Publisher, packet: Publish): Promise<Verdict> {
    const { rules, routes, observer } = this.#options
    const { deviceId } = publisher
    if (!rules.mayPublish(deviceId, packet.topic)) {
      observer.published('refused-topic')
      throw forbidden(deviceId, packet.topic)
    }
    const payload = typeof packet.payload === 'string' ? Buffer.from(packet.payload) : packet.payload
    const match = routes.match(deviceId, packet.topic)
    // An empty retained message takes a retained one back [MQTT-3.3.1-10]; it says nothing itself.
    if (!match || (packet.retain && payload.length === 0)) {
      observer.published('local')
      return 'acknowledge'
    }
    return await this.#take(publisher, packet, payload, match)
  }

  settled(): Promise<void> {
    return this.#underWay.settled()
  }

  async #take(publisher: Publisher, packet: Publish, payload: Buffer, match: RouteMatch): Promise<Verdict> {
    const { observer, clock } = this.#options
    const startedMs = clock.monotonicMs()
    this.#underWay.begin()
    publisher.pressure?.began(payload.length)
    try {
      await this.#append(publisher, packet, payload, match)
      if (packet.qos > 0) observer.acknowledged(clock.monotonicMs() - startedMs)
      return 'acknowledge'
    } catch (error) {
      observer.published(isAbort(error) ? 'withdrawn' : 'failed')
      if (isAbort(error)) return 'withdrawn'
      throw error
    } finally {
      this.#underWay.end()
      publisher.pressure?.ended(payload.length)
    }
  }

  async #append(publisher: Publisher, packet: Publish, payload: Buffer, match: RouteMatch): Promise<void> {
    const { admit, outbox, observer } = this.#options
    const { deviceId, signal } = publisher
    const { topic, qos } = packet
    const admitted = admit({ deviceId, topic, payload, qos, match })
    const { kind } = await outbox.append(admitted.submission, signal)
    if (admitted.implausible) observer.implausibleClock()
    if (admitted.rejected === undefined || kind === 'shed') return observer.published(kind)
    observer.quarantined(admitted.rejected)
    observer.published(kind === 'accepted' ? 'rejected' : kind)
    const { rejected: reason, submission } = admitted
    const about = { device: deviceId, topic, reason, id: submission.candidate.id }
    this.#warn(`${deviceId} ${reason}`, 'reading quarantined', about)
  }
}

function forbidden(deviceId: string, topic: string): TidegateError {
  return new TidegateError('TOPIC_FORBIDDEN', {
    message: `${deviceId} may not publish to ${topic.slice(0, 256)}`,
    retryable: false,
    hint: `a device publishes under devices/<its ID>/, or where a route lets it (routes in the configuration)`,
  })
}
