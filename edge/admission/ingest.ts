import type { AuthMethod } from '../../src/contract/event.ts'
import type { Clock } from '../../src/clock.ts'
import { isAbort, TidegateError } from '../../src/errors.ts'
import type { Logger } from '../../src/log.ts'
import { createThrottle, createThrottledWarn, type ThrottledWarn } from '../../src/throttle.ts'
import { UnderWay } from '../../src/under-way.ts'
import type { Admit, Admitted, Message } from './admission.ts'
import type { IngestObserver, PublishResult } from './observer.ts'
import type { Admission, Outbox } from '../outbox/outbox.ts'
import { nearestTopic } from './routes/nearest-topic.ts'
import type { EventMatch, Routes } from './routes/routes.ts'
import { legible } from './text.ts'
import { isOwnTopic } from './routes/topics.ts'
import { Unrouted } from './unrouted.ts'

export interface Publisher {
  deviceId: string
  /** How it was authenticated; absent: by its certificate. */
  authMethod?: AuthMethod | undefined
  /** Withdraws what waits for room. */
  signal: AbortSignal
  /** Absent for a will, whose connection is over. */
  held?: Pick<Held, 'grow'>
}

/** What publishes take in memory until they are answered: who has too much of it waiting is read no further (G7). */
export interface Held {
  /** They take so many bytes more. */
  grow(bytes: number): void
  /** So many of them were answered. */
  answered(count: number): void
  /** All were answered, or given up. */
  release(): void
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
  routes: Routes
  admit: Admit
  outbox: Pick<Outbox, 'appendAll'>
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
  /** What an event is that this device publishes to this topic; undefined: it is none, or the topic is not for it to use. */
  eventAt(deviceId: string, topic: string): EventMatch | undefined
  /**
   * As `publish`, of messages that came together from this publisher, each to a topic of events. `answered` is called with how many
   * more of them may be acknowledged, in their order, as soon as that is so. Of the payloads nothing is needed once it has returned.
   */
  takeAll(
    publisher: Publisher,
    messages: readonly Message[],
    answered: (count: number) => void,
  ): Promise<Verdict>
  /** Resolves when nothing is being admitted. */
  settled(): Promise<void>
}

/** The way of a publish: may it, is it an event, admit it, make it durable, then acknowledge. */
export function createIngest(options: IngestOptions): Ingest {
  return new OutboxIngest(options)
}

/** Of a text in which one character is not Latin-1. */
const bytesPerCharacter = 2

class OutboxIngest implements Ingest {
  readonly #options: IngestOptions
  readonly #underWay = new UnderWay()
  readonly #warn: ThrottledWarn
  readonly #mayTellOfRepeat: (key: string) => number | undefined
  readonly #unrouted: Unrouted

  constructor(options: IngestOptions) {
    this.#options = options
    this.#warn = createThrottledWarn(options.log, options.clock, 10_000)
    this.#mayTellOfRepeat = createThrottle(options.clock, 600_000)
    this.#unrouted = new Unrouted({ ...options, routes: options.routes.all })
  }

  async publish(publisher: Publisher, packet: Publish): Promise<Verdict> {
    const { routes, observer } = this.#options
    const { deviceId, authMethod } = publisher
    const match = routes.match(deviceId, packet.topic)
    // As `TopicRules.mayPublish` has it, without matching twice.
    if (!match && !isOwnTopic(deviceId, packet.topic)) {
      observer.published('refused-topic', 1)
      throw forbidden(deviceId, packet.topic, nearestTopic(routes.all, deviceId, packet.topic))
    }
    const payload = typeof packet.payload === 'string' ? Buffer.from(packet.payload) : packet.payload
    if (match?.action === 'event') {
      // An empty retained message takes a retained one back [MQTT-3.3.1-10]; it says nothing itself.
      if (!packet.retain || payload.length > 0) {
        const { topic, qos } = packet
        return await this.takeAll(publisher, [{ deviceId, authMethod, topic, payload, qos, match }], () => {})
      }
      observer.published('local', 1)
    } else if (match) {
      observer.published(match.action === 'local' ? 'local' : 'ignored', 1)
    } else {
      observer.published('unrouted', 1)
      this.#unrouted.tell(deviceId, packet.topic)
    }
    return 'acknowledge'
  }

  eventAt(deviceId: string, topic: string): EventMatch | undefined {
    const match = this.#options.routes.match(deviceId, topic)
    return match?.action === 'event' ? match : undefined
  }

  async takeAll(
    publisher: Publisher,
    messages: readonly Message[],
    answered: (count: number) => void,
  ): Promise<Verdict> {
    const { admit, outbox, observer, clock } = this.#options
    const startedMs = clock.monotonicMs()
    let taken = 0
    this.#underWay.begin()
    try {
      const admitted = messages.map((message) => admit(message))
      publisher.held?.grow(bytesPerCharacter * textLengthOf(admitted))
      const onAnswered = (admissions: readonly Admission[]): void => {
        const from = taken
        taken += admissions.length
        this.#note(messages, admitted, admissions, from)
        if (messages.some(({ qos }, index) => qos > 0 && index >= from && index < taken))
          observer.acknowledged(clock.monotonicMs() - startedMs)
        answered(admissions.length)
      }
      const submissions = admitted.map(({ submission }) => submission)
      await outbox.appendAll(submissions, onAnswered, publisher.signal)
      return 'acknowledge'
    } catch (error) {
      observer.published(isAbort(error) ? 'withdrawn' : 'failed', messages.length - taken)
      if (isAbort(error)) return 'withdrawn'
      throw error
    } finally {
      this.#underWay.end()
    }
  }

  settled(): Promise<void> {
    return this.#underWay.settled()
  }

  /** What became of those from `from` on. */
  #note(
    messages: readonly Message[],
    admitted: readonly Admitted[],
    admissions: readonly Admission[],
    from: number,
  ): void {
    const counts = new Map<PublishResult, number>()
    for (const [index, { kind }] of admissions.entries()) {
      const result = this.#tell(messages[from + index] as Message, admitted[from + index] as Admitted, kind)
      counts.set(result, (counts.get(result) ?? 0) + 1)
    }
    for (const [result, count] of counts) this.#options.observer.published(result, count)
  }

  /** What became of one, and what there is to say of it. */
  #tell({ deviceId, topic }: Message, admitted: Admitted, kind: Admission['kind']): PublishResult {
    if (kind === 'shed') return kind
    if (admitted.implausible) this.#options.observer.implausibleClock()
    if (admitted.skippedBytes !== undefined) this.#options.observer.skipped(admitted.skippedBytes)
    if (admitted.timeFault !== undefined) this.#tellOfTime(deviceId, topic, admitted.timeFault)
    if (admitted.rejected) {
      this.#tellOfQuarantine(deviceId, topic, admitted)
      return kind === 'accepted' ? 'rejected' : kind
    }
    if (kind === 'duplicate') this.#tellOfRepeat(deviceId, topic, admitted)
    else if (admitted.lowered) this.#options.observer.lowered(admitted.lowered)
    return kind
  }

  /** Never with a value of the payload: `detail` says what is wrong in words of ours and of the schema, and names members. */
  #tellOfQuarantine(device: string, topic: string, { rejected, submission }: Admitted): void {
    if (!rejected) return
    const { reason, detail } = rejected
    this.#options.observer.quarantined(reason)
    const { id } = submission.candidate
    const about = { device, topic: legible(topic, 256), reason, detail: legible(detail, 500), id }
    this.#warn(`${device} ${reason}`, 'reading quarantined', about)
  }

  #tellOfTime(device: string, topic: string, detail: string): void {
    this.#options.observer.unreadableTime()
    const about = { device, topic: legible(topic, 256), detail: legible(detail, 500) }
    this.#warn(device, 'the time of a reading cannot be read: the gateway’s is taken', about)
  }

  /** Nothing is wrong with one that is sent again; with ever more of them a counter has begun anew. */
  #tellOfRepeat(device: string, topic: string, { submission }: Admitted): void {
    const heldBack = this.#mayTellOfRepeat(device)
    if (heldBack === undefined) return
    const about = { device, topic: legible(topic, 256), id: submission.candidate.id, alikeBefore: heldBack }
    this.#options.log.info(about, 'dropped: an event with its ID is there already')
  }
}

function textLengthOf(admitted: readonly Admitted[]): number {
  return admitted.reduce((sum, { submission }) => sum + submission.candidate.text.length, 0)
}

function forbidden(deviceId: string, topic: string, meant: string | undefined): TidegateError {
  const question = meant === undefined ? '' : `; did you mean ${legible(meant, 256)}?`
  return new TidegateError('TOPIC_FORBIDDEN', {
    message: `${deviceId} may not publish to ${legible(topic, 256)}${question}`,
    retryable: false,
    hint: `a device publishes under devices/<its ID>/, or where a route lets it (routes in the configuration)`,
  })
}
