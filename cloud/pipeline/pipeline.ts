import { setMaxListeners } from 'node:events'
import { backoffMs } from '../../src/backoff.ts'
import type { Clock, Random } from '../../src/clock.ts'
import { codeOf, isAbort } from '../../src/errors.ts'
import { groupCommit } from '../../src/group-commit.ts'
import type { Logger } from '../../src/log.ts'
import type { Consumer } from './consumer.ts'
import type { Delivery, Letter, Siding, Sidings } from '../amqp/delivery.ts'
import { judge, type Parcel } from './judge.ts'
import { deadLetter, retryLetter } from './letters.ts'
import type { Outcome, PipelineObserver } from './observer.ts'
import { decide, isOutage } from './retry.ts'
import type { SchemaCheck } from './schema-check.ts'
import type { Storage } from '../database/storage.ts'
import { applyTogether } from './batch.ts'

/**
 * The one place that decides what becomes of a delivery:
 *
 *     delivery ─▶ judge ─▶ [ inbox + handler ] in one transaction ─▶ ack
 *                   │            │ fails: divide until the culprit stands alone
 *                   ▼            ▼
 *                dead letter ◀─ decide ─▶ rung          (sent with proof, then ack)
 *
 * Stages throw; `decide` turns the error into an outcome. A delivery is acknowledged after its outcome is durable,
 * never before, so a crash anywhere means a redelivery, and the inbox makes that harmless (G4, G5).
 *
 * Partitions share a few lanes. A lane works on one batch at a time, in order of arrival (G6), and what arrives
 * meanwhile is the next batch.
 */
export interface Pipeline {
  readonly group: string
  take(delivery: Delivery): void
  /** Deliveries taken and not settled. */
  readonly inFlight: number
  /** The code of the outage that is being waited out, if any. */
  readonly heldBy: string | undefined
  /**
   * Begins nothing new, waits up to `graceMs` for what is under way, then cuts it off. Idempotent. What is not
   * settled stays unacknowledged.
   */
  close(graceMs?: number): Promise<void>
}

export interface PipelineOptions {
  consumer: Consumer
  storage: Storage
  sidings: Sidings
  checkSchema: SchemaCheck
  ladderMs: readonly number[]
  timeoutMs: number
  /** Most deliveries in one transaction. */
  batchMax: number
  lanes: number
  /** A transaction that takes longer makes the next ones smaller, so that slow handlers commit often. */
  batchTimeTargetMs: number
  instance: string
  clock: Clock
  random: Random
  log: Logger
  observer: PipelineObserver
  /** A fault in Tidegate itself; the process should end. */
  onFatal: (error: unknown) => void
}

const outageBackoff = { delayMsMin: 100, delayMsMax: 5_000 }

interface Lane {
  /** Most deliveries in its next transaction. */
  limit: number
}

export function createPipeline(options: PipelineOptions): Pipeline {
  const { consumer, sidings, clock, random, log, observer } = options
  const { group } = consumer
  const ladderMs = consumer.ladderMs ?? options.ladderMs
  const timeoutMs = consumer.timeoutMs ?? options.timeoutMs
  const stopping = new AbortController()
  const cutOff = new AbortController()
  // Every lane and every letter may wait on them at once.
  setMaxListeners(0, stopping.signal, cutOff.signal)
  /** Who waits for the end of which outage. */
  const waits = new Map<symbol, string>()
  const lanes = Array.from({ length: options.lanes }, () => {
    const lane: Lane = { limit: options.batchMax }
    return groupCommit<Delivery, undefined>((batch) => workOn(batch, lane).then(() => []), {
      itemsMax: options.batchMax,
    })
  })
  let inFlight = 0
  let closing: Promise<void> | undefined

  async function carry(delivery: Delivery): Promise<void> {
    inFlight++
    try {
      await lanes[delivery.partition % lanes.length]?.submit(delivery)
    } catch (error) {
      options.onFatal(error)
    } finally {
      inFlight--
    }
  }

  async function workOn(batch: readonly Delivery[], lane: Lane): Promise<void> {
    const asides: Promise<void>[] = []
    const aside = (delivery: Delivery, error: unknown): void => {
      asides.push(putAside(delivery, error).catch(options.onFatal))
    }
    const parcels: Parcel[] = []
    for (const delivery of batch.filter(isLive)) {
      const judgement = judge(delivery, consumer, options.checkSchema)
      if (judgement.kind === 'handle') parcels.push(judgement.parcel)
      else if (judgement.kind === 'ignore') settle(delivery, 'ignored')
      else aside(delivery, judgement.error)
    }
    await applyAll(parcels, lane, aside)
    await Promise.all(asides)
  }

  /** Applies parcels in order; culprits are put aside, and everything else is committed. */
  async function applyAll(parcels: Parcel[], lane: Lane, aside: Aside): Promise<void> {
    const wait = Symbol(group)
    const runs = [parcels]
    let outages = 0
    for (let run = runs.shift(); run; run = runs.shift()) {
      run = run.filter((parcel) => isLive(parcel.delivery))
      if (run.length === 0) continue
      if (run.length > lane.limit) {
        runs.unshift(run.slice(0, lane.limit), run.slice(lane.limit))
        continue
      }
      const startedMs = clock.monotonicMs()
      const result = await applyTogether(run, { ...options, timeoutMs }, cutOff.signal)
      const tookMs = clock.monotonicMs() - startedMs
      observer.transaction(group, run.length, tookMs, result.kind)
      if (result.kind === 'committed') {
        resume(wait)
        outages = 0
        lane.limit = paced(lane.limit, tookMs)
        for (const parcel of run) finish(parcel, result.repeats.has(parcel), aside)
      } else if (cutOff.signal.aborted) {
        break
      } else if (isOutage(result.error)) {
        await hold(wait, result.error, ++outages)
        runs.unshift(run)
      } else {
        resume(wait)
        const { error } = result
        runs.unshift(...divide(run, result.culprit, (parcel) => aside(parcel.delivery, error)))
      }
    }
    resume(wait)
  }

  function finish(parcel: Parcel, repeat: boolean, aside: Aside): void {
    if (!repeat) observer.applied(group, parcel.event, parcel.delivery, clock.now())
    if (parcel.fault) aside(parcel.delivery, parcel.fault)
    else settle(parcel.delivery, repeat ? 'repeat' : 'processed')
  }

  /** Out of the partition's way, with proof; then, and only then, acknowledged. */
  async function putAside(delivery: Delivery, error: unknown): Promise<void> {
    const decision = decide(error, delivery.attempt, ladderMs)
    if (decision.kind !== 'retry' && decision.kind !== 'dead') throw error
    const failing = { delivery, error, group, instance: options.instance, nowMs: clock.now() }
    const [siding, letter]: [Siding, Letter] =
      decision.kind === 'retry'
        ? [{ kind: 'retry', group, queue: delivery.queue, delayMs: decision.delayMs }, retryLetter(failing)]
        : [{ kind: 'dead', group }, deadLetter(failing)]
    const wait = Symbol(group)
    for (let outages = 1; isLive(delivery); outages++) {
      try {
        await sidings.send(siding, letter)
        observer.failed(group, decision.kind, codeOf(error), delivery.attempt)
        settle(delivery, decision.kind === 'retry' ? 'retried' : 'dead')
        break
      } catch (outage) {
        if (!isOutage(outage)) throw outage
        await hold(wait, outage, outages)
      }
    }
    resume(wait)
  }

  function settle(delivery: Delivery, outcome: Outcome): void {
    delivery.ack()
    observer.settled(group, outcome)
  }

  async function hold(wait: symbol, outage: unknown, outages: number): Promise<void> {
    const code = codeOf(outage)
    if (waits.size === 0) log.warn({ group, code, err: outage }, 'holding deliveries until an outage is over')
    waits.set(wait, code)
    observer.held(group, code)
    try {
      await clock.sleep(backoffMs(outages, outageBackoff, random), stopping.signal)
    } catch (error) {
      if (!isAbort(error)) throw error
    }
  }

  function resume(wait: symbol): void {
    if (waits.delete(wait) && waits.size === 0) log.info({ group }, 'no longer holding deliveries')
  }

  function isLive(delivery: Delivery): boolean {
    return !delivery.lost && !stopping.signal.aborted
  }

  function paced(limit: number, tookMs: number): number {
    if (tookMs > options.batchTimeTargetMs) return Math.max(1, limit >> 1)
    return tookMs < options.batchTimeTargetMs / 2 ? Math.min(options.batchMax, limit * 2) : limit
  }

  async function closeAll(graceMs: number): Promise<void> {
    stopping.abort()
    const cut = clock.after(graceMs, () => cutOff.abort())
    await Promise.all(lanes.map((lane) => lane.close()))
    cut.cancel()
    cutOff.abort()
  }

  return {
    group,
    take(delivery) {
      if (!stopping.signal.aborted) void carry(delivery)
    },
    get inFlight() {
      return inFlight
    },
    get heldBy() {
      return waits.values().next().value
    },
    close: (graceMs = 10_000) => (closing ??= closeAll(graceMs)),
  }
}

type Aside = (delivery: Delivery, error: unknown) => void

/** The runs that remain when a run failed: without the culprit, or in halves until there is one. */
function divide(run: Parcel[], culprit: number | undefined, blame: (parcel: Parcel) => void): Parcel[][] {
  const at = run.length === 1 ? 0 : culprit
  if (at === undefined) return [run.slice(0, run.length >> 1), run.slice(run.length >> 1)]
  blame(run[at] as Parcel)
  return [run.slice(0, at), run.slice(at + 1)]
}
