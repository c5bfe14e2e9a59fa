import type { Clock } from '../../src/clock.ts'
import { isAbort, TidegateError } from '../../src/errors.ts'
import type { Logger } from '../../src/log.ts'
import type { Admit } from './admission.ts'
import type { Connection } from '../mqtt/connections.ts'
import type { IngestObserver } from './observer.ts'
import type { Outbox } from '../outbox/outbox.ts'
import type { RouteMatch, Routes } from './routes.ts'
import { createThrottle } from '../../src/throttle.ts'
import type { TopicRules } from './topics.ts'

export interface Publisher {
  deviceId: string
  clientId: string
  /** Withdraws what waits for room. */
  signal: AbortSignal
  /** Absent for a will, whose connection is over, and where it counts elsewhere. */
  connection?: Pick<Connection, 'began' | 'ended'>
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
  const { rules, routes, admit, outbox, observer, clock, log } = options
  const throttle = createThrottle(clock, 10_000)
  let inFlight = 0
  let wakeSettled: (() => void)[] = []

  async function publish(publisher: Publisher, packet: Publish): Promise<Verdict> {
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
    const startedMs = clock.monotonicMs()
    begin(publisher, payload.length)
    try {
      await append(publisher, packet, payload, match)
      if (packet.qos > 0) observer.acknowledged(clock.monotonicMs() - startedMs)
      return 'acknowledge'
    } catch (error) {
      observer.published(isAbort(error) ? 'withdrawn' : 'failed')
      if (isAbort(error)) return 'withdrawn'
      throw error
    } finally {
      end(publisher, payload.length)
    }
  }

  async function append(
    publisher: Publisher,
    packet: Publish,
    payload: Buffer,
    match: RouteMatch,
  ): Promise<void> {
    const { deviceId, signal } = publisher
    const admitted = admit({ deviceId, topic: packet.topic, payload, qos: packet.qos, match })
    const { kind } = await outbox.append(admitted.submission, signal)
    if (admitted.implausible) observer.implausibleClock()
    if (admitted.rejected === undefined || kind === 'shed') return observer.published(kind)
    observer.quarantined(admitted.rejected)
    observer.published(kind === 'accepted' ? 'rejected' : kind)
    logQuarantine(deviceId, packet.topic, admitted.rejected, admitted.submission.candidate.id)
  }

  function begin({ connection }: Publisher, payloadBytes: number): void {
    inFlight += 1
    connection?.began(payloadBytes)
  }

  function end({ connection }: Publisher, payloadBytes: number): void {
    inFlight -= 1
    connection?.ended(payloadBytes)
    if (inFlight > 0 || wakeSettled.length === 0) return
    const waiting = wakeSettled
    wakeSettled = []
    for (const wake of waiting) wake()
  }

  function logQuarantine(device: string, topic: string, reason: string, id: string): void {
    const heldBack = throttle(`${device} ${reason}`)
    if (heldBack === undefined) return
    const alike = heldBack === 0 ? {} : { alikeBefore: heldBack }
    log.warn({ device, topic, reason, id, ...alike }, 'reading quarantined')
  }

  return {
    publish,
    settled: () => (inFlight === 0 ? Promise.resolve() : new Promise((resolve) => wakeSettled.push(resolve))),
  }
}

function forbidden(deviceId: string, topic: string): TidegateError {
  return new TidegateError('TOPIC_FORBIDDEN', {
    message: `${deviceId} may not publish to ${topic.slice(0, 256)}`,
    retryable: false,
    hint: `a device publishes under devices/<its ID>/, or where a route lets it (routes in the configuration)`,
  })
}
