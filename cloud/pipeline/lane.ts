import type { Clock } from '../../src/clock.ts'
import type { Event } from '../../src/contract/event.ts'
import type { Logger } from '../../src/log.ts'
import type { Delivery } from '../amqp/delivery.ts'
import type { Statements } from '../database/statements.ts'
import type { Storage } from '../database/storage.ts'
import { parkingFull, type Yard } from '../parking/yard.ts'
import type { Replayed } from '../replays/replayed.ts'
import type { Aside } from './aside.ts'
import { applyTogether, divide, type Done } from './batch.ts'
import { BatchPace } from './limits/batch-pace.ts'
import { type Batch, BatchQueue } from './limits/batch-queue.ts'
import type { DeadLetters } from '../letters/dead-letters.ts'
import type { ConfiguredConsumer } from './definition.ts'
import type { BreakersFor } from '../protection/breakers.ts'
import type { Gate } from '../protection/gate.ts'
import type { Holding } from './holding.ts'
import type { Places } from './limits/places.ts'
import { type Checks, judge, type Parcel } from './judge.ts'
import type { PipelineObserver } from './observer.ts'
import { isHopeless, isOutage } from './retry.ts'
import type { Settlement } from './settlement.ts'

/** Works on one batch at a time, in order of arrival (G6); what arrives meanwhile is the next batch. */
export interface Lane {
  take(delivery: Delivery): void
  /** Deliveries taken that are neither settled nor left to the broker. */
  readonly inFlight: number
  /**
   * For how long the oldest batch here has waited for attempts that failed, and for the one under way; 0 while there is none.
   * Neither what is committed nor an outage counts.
   */
  readonly starvedMs: number
  /** Resolves when nothing is under way. */
  close(): Promise<void>
}

export interface LaneOptions extends Checks {
  breakers: BreakersFor
  consumer: ConfiguredConsumer
  storage: Storage
  /** Dead letters that come back. */
  replayedIn: (transaction: Statements) => Replayed
  lettersIn: (transaction: Statements) => DeadLetters
  /** Most deliveries in one transaction. */
  batchMax: number
  /** A transaction that takes longer ends with the event that it is at, and the next ones are smaller where that helps: slow handlers commit often. */
  batchTimeTargetMs: number
  clock: Clock
  log: Logger
  observer: PipelineObserver
  /** A fault in Tidegate itself. */
  onFatal: (error: unknown) => void
}

export interface LaneParts {
  settlement: Settlement
  aside: Aside
  holding: Holding
  yard: Yard
  gate: Gate
  places: Places
  /** Aborted: nothing is begun. */
  stopping: AbortSignal
  /** Aborted: the transaction under way is cut off, and nothing is begun after it. */
  cutOff: AbortSignal
}

export function createLane(options: LaneOptions, parts: LaneParts): Lane {
  return new BatchLane(options, new LaneWork(options, parts))
}

class BatchLane implements Lane {
  readonly #options: LaneOptions
  readonly #work: LaneWork
  readonly #waiting: BatchQueue<Delivery>
  #working: Batch<Delivery> | undefined
  #inFlight = 0
  #running: Promise<void> | undefined

  constructor(options: LaneOptions, work: LaneWork) {
    const { consumer, batchMax, clock } = options
    this.#options = options
    this.#work = work
    this.#waiting = new BatchQueue({
      batchMax,
      // Lanes of a group that parks are those of devices, of whatever partition: one that has much to do must not fill the others (G7).
      lineOf: consumer.parks ? ({ partition }) => partition : () => 0,
      nowMs: () => clock.monotonicMs(),
      failedMs: () => work.failedMs,
    })
  }

  get inFlight(): number {
    return this.#inFlight
  }

  get starvedMs(): number {
    const oldest = this.#working ?? this.#waiting.oldest
    if (oldest === undefined) return 0
    const { failedMs, underWayMs } = this.#work
    // The attempt that was under way when it came had begun before.
    return Math.min(
      this.#options.clock.monotonicMs() - oldest.sinceMs,
      failedMs - oldest.failedMsBefore + underWayMs,
    )
  }

  take(delivery: Delivery): void {
    this.#inFlight++
    this.#waiting.push(delivery)
    this.#running ??= this.#run()
  }

  async close(): Promise<void> {
    // oxlint-disable-next-line no-unmodified-loop-condition -- #run() clears it
    while (this.#running) await this.#running
  }

  async #run(): Promise<void> {
    // One turn of the microtask queue lets everything parsed from the same socket chunk join the first batch.
    await Promise.resolve()
    while ((this.#working = this.#waiting.shift())) {
      const { items: deliveries } = this.#working
      await this.#work.on(deliveries).catch(this.#options.onFatal)
      this.#inFlight -= deliveries.length
    }
    this.#running = undefined
  }
}

/** What is to be done with a batch, in this order: apply parcels, or put one aside before any later event is begun with (G6). */
type Step = Parcel[] | Faulty

interface Faulty {
  delivery: Delivery
  error: unknown
  event: Event | undefined
}

class LaneWork {
  readonly #options: LaneOptions
  readonly #parts: LaneParts
  readonly #pace: BatchPace
  #failedMs = 0
  /** When the attempt began that is under way. */
  #startedMs: number | undefined

  constructor(options: LaneOptions, parts: LaneParts) {
    this.#options = options
    this.#parts = parts
    this.#pace = new BatchPace({ batchMax: options.batchMax, timeTargetMs: options.batchTimeTargetMs })
  }

  /** Spent on attempts that failed, since the start; an outage is no attempt. */
  get failedMs(): number {
    return this.#failedMs
  }

  /** How long the attempt that is under way has taken so far; 0 while none is. */
  get underWayMs(): number {
    return this.#startedMs === undefined ? 0 : this.#options.clock.monotonicMs() - this.#startedMs
  }

  async on(batch: readonly Delivery[]): Promise<void> {
    const asides: Promise<void>[] = []
    await this.#applyAll(this.#judged(batch, asides), asides)
    await Promise.all(asides)
  }

  /** What is to be handled. What is not is settled, or put aside; where others have to wait for that, when its turn comes. */
  #judged(batch: readonly Delivery[], asides: Promise<void>[]): Step[] {
    const { consumer } = this.#options
    const { settlement, aside } = this.#parts
    let parcels: Parcel[] = []
    const steps: Step[] = [parcels]
    for (const delivery of batch.filter((one) => settlement.isLive(one))) {
      const judgement = judge(delivery, consumer, this.#options, this.#options.clock.now())
      if (judgement.kind === 'handle') parcels.push(judgement.parcel)
      else if (judgement.kind === 'ignore') settlement.settle(delivery, 'ignored')
      else if (judgement.kind === 'shed') settlement.settle(delivery, 'shed')
      else if (aside.parks(delivery, judgement.error, judgement.event)) steps.push(judgement, (parcels = []))
      else asides.push(this.#putAside(judgement))
    }
    return steps
  }

  #putAside({ delivery, error, event }: Faulty): Promise<void> {
    return this.#parts.aside.put(delivery, error, event).catch(this.#options.onFatal)
  }

  /** Applies parcels in order; culprits are put aside, and everything else is committed. */
  async #applyAll(steps: Step[], asides: Promise<void>[]): Promise<void> {
    const { settlement, holding, gate, cutOff, aside } = this.#parts
    const wait = holding.createWait()
    let outages = 0
    for (let step = steps.shift(); step; step = steps.shift()) {
      if (!Array.isArray(step)) {
        await this.#putAside(step)
        continue
      }
      let run = step.filter((parcel) => settlement.isLive(parcel.delivery))
      if (run.length === 0) continue
      const { limit } = this.#pace
      if (run.length > limit) {
        steps.unshift(run.slice(0, limit), run.slice(limit))
        continue
      }
      const entered = await this.#entered(run)
      steps.unshift(run.slice(entered.length))
      run = entered.filter((parcel) => settlement.isLive(parcel.delivery))
      if (run.length === 0) {
        gate.leave(entered.length, 0)
        continue
      }
      const { tookMs, ...result } = await this.#applied(run)
      gate.leave(
        entered.length,
        result.kind === 'committed' ? result.done.length : Number(!isOutage(result.error)),
      )
      if (result.kind === 'committed') {
        wait.end()
        outages = 0
        this.#pace.committed(run.length - result.left.length, tookMs)
        asides.push(...this.#finish(result))
        steps.unshift([...result.left])
      } else if (cutOff.aborted) {
        break
      } else if (isOutage(result.error)) {
        this.#pace.failed(run.length)
        await wait.out(result.error, ++outages)
        steps.unshift(run)
      } else {
        wait.end()
        const { error } = result
        steps.unshift(
          ...divide<Step>(run, result.culprit, ({ delivery, event }) => {
            // What an event itself is at fault for says nothing of its group.
            if (!isHopeless(error)) gate.tried(event.partitionkey, true)
            if (aside.parks(delivery, error, event)) return [{ delivery, error, event }]
            asides.push(this.#putAside({ delivery, error, event }))
            return []
          }),
        )
      }
    }
    wait.end()
  }

  /** As many of them as may begin, from the first on; none if the pipeline stops. */
  async #entered(run: readonly Parcel[]): Promise<readonly Parcel[]> {
    const { gate, stopping } = this.#parts
    return run.slice(0, await gate.enter(run.length, stopping))
  }

  async #applied(
    run: readonly Parcel[],
  ): Promise<Awaited<ReturnType<typeof applyTogether>> & { tookMs: number }> {
    const { consumer, clock, observer } = this.#options
    const result = await this.#parts.places.hold(() => {
      this.#startedMs = clock.monotonicMs()
      return applyTogether(run, { ...this.#options, yard: this.#parts.yard }, this.#parts.cutOff)
    })
    const tookMs = this.underWayMs
    this.#startedMs = undefined
    if (result.kind === 'failed' && !isOutage(result.error)) this.#failedMs += tookMs
    const size = result.kind === 'committed' ? run.length - result.left.length : run.length
    observer.transaction(consumer.group, size, tookMs, result.kind)
    return { ...result, tookMs }
  }

  /** Answers what of it is put aside. */
  #finish({ done, repeats, diverted }: Done): Promise<void>[] {
    const { consumer, clock, observer } = this.#options
    const { settlement, aside, gate, yard } = this.#parts
    yard.committed(diverted)
    for (const { delivery } of diverted.waiting) settlement.settle(delivery, 'parked')
    for (const { event } of [...diverted.waiting, ...diverted.surplus])
      if (diverted.failing.has(event.partitionkey)) gate.waited(event.partitionkey)
    for (const parcel of done) {
      const { delivery, event, fault } = parcel
      const repeat = repeats.has(parcel)
      if (!repeat) gate.tried(event.partitionkey, false)
      if (!repeat) observer.applied(consumer.group, event, delivery, clock.now())
      if (fault) aside.recorded(delivery, fault, event)
      else settlement.settle(delivery, repeat ? 'repeat' : 'processed')
    }
    return [...diverted.surplus].map(({ delivery, event }) =>
      this.#putAside({ delivery, event, error: parkingFull(consumer.group, event.partitionkey) }),
    )
  }
}
