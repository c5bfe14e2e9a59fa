import { setMaxListeners } from 'node:events'
import { backoffMs } from '../../src/backoff.ts'
import { amqpMessageOf } from '../../src/amqp/faults-rabbit.ts'
import type { Clock, Random } from '../../src/clock.ts'
import { codeOf } from '../../src/errors.ts'
import { atMost, orAborted } from '../../src/lifecycle.ts'
import type { Logger } from '../../src/log.ts'
import type { Delivery } from '../amqp/delivery.ts'
import type { FormerLine, FormerQueue, FormerQueues, UpgradeRegister } from './former.ts'
import { Remaining } from './remaining.ts'

export interface UpgradeOptions {
  /** Those that exist, oldest first. */
  queues: readonly FormerQueue[]
  /** Of those, the ones that were noted as drained. */
  drained: ReadonlySet<string>
  /** Whether nothing of a new queue may be read before the former one is drained (G6). */
  ordered: boolean
  line: FormerLine
  register: UpgradeRegister
  /** Binds the queue of today of this partition. Idempotent. */
  bind(partition: number): Promise<void>
  /** Idempotent. */
  unbind(former: FormerQueue): Promise<void>
  onDelivery: (delivery: Delivery) => void
  /** Nothing is read before; absent: at once. */
  after?: Promise<void> | undefined
  /** Without a sign of life for so long, an instance is gone. */
  goneAfterMs: number
  clock: Clock
  random: Random
  log: Logger
}

const lookEveryMs = 500
/** What a publisher's channel routed before the queue was unbound may be on its way to it for so long. */
const onTheWayMs = 500
const closeTimeoutMs = 3_000
const afterFailure = { delayMsMin: 500, delayMsMax: 10_000 }

/**
 * Brings partitions from the queues of a former generation to those of today. Nothing is lost and no order broken (G5,
 * G6), wherever the process is killed: each step may be done again, and the next start begins at the first.
 *
 *     subscribe to the former queue, in line behind instances of the former version, which go on working
 *     alone:     those instances are gone
 *     bound:     the new queue gets the partition's events as well; what comes twice has its effect once (G4)
 *     unbound:   the former queue gets none any more
 *     drained:   what it held is settled
 *     noted:     for all instances: the new queue may be read
 *
 * One instance does this at a time. All stay subscribed to what is drained, because letters on rungs come back to the
 * queue that they failed in.
 */
export function startUpgrade(options: UpgradeOptions): FormerQueues {
  const remaining = new Remaining(options)
  const upgrade = new Upgrade(options, remaining)
  const { line } = options
  return {
    unbound: () => remaining.partitions(),
    whenReady: (partition) => remaining.whenReady(partition),
    get counts() {
      const there = options.queues.filter((former) => !line.isOver(former))
      const drained = there.filter((former) => remaining.isDrained(former)).length
      return { draining: there.length - drained, drained }
    },
    pause: () => line.pause(),
    resume: () => line.resume(),
    stop: () => upgrade.stop(),
    close: () => upgrade.close(),
  }
}

class Upgrade {
  readonly #options: UpgradeOptions
  readonly #remaining: Remaining
  readonly #stopping = new AbortController()
  /** Queues that this instance has unbound since its start. */
  readonly #unbound = new Set<string>()
  readonly #running: Promise<void>
  #closing: Promise<void> | undefined

  constructor(options: UpgradeOptions, remaining: Remaining) {
    this.#options = options
    this.#remaining = remaining
    this.#running = this.#begin()
  }

  stop(): void {
    this.#stopping.abort()
    this.#options.line.stop()
  }

  close(): Promise<void> {
    return (this.#closing ??= this.#close())
  }

  async #close(): Promise<void> {
    this.stop()
    const { line, clock } = this.#options
    await atMost(Promise.all([this.#running, line.close()]), closeTimeoutMs, clock)
  }

  async #begin(): Promise<void> {
    const { queues, ordered, after } = this.#options
    const { signal } = this.#stopping
    if (after) await orAborted(after, signal).catch(() => {})
    if (signal.aborted) return
    for (const former of queues) if (!ordered || this.#remaining.isDrained(former)) this.#subscribe(former)
    await this.#run()
  }

  async #run(): Promise<void> {
    const { log, clock, goneAfterMs } = this.#options
    const { signal } = this.#stopping
    const remaining = this.#remaining
    if (!remaining.none) {
      log.info(
        { queues: remaining.queues().map(({ queue }) => queue) },
        'partition queues with the settings of a former version are there: they are drained into new ones',
      )
    }
    for (let failed = false; !remaining.none && !signal.aborted;) {
      try {
        await this.#unbindDrained()
        await this.#attempt()
        failed = false
      } catch (error) {
        if (signal.aborted) return
        if (!failed)
          log.warn({ code: codeOf(error) }, `draining former queues later: ${amqpMessageOf(error)}`)
        failed = true
      }
      // Whoever has the lock is asked by nobody more often than it is missed.
      const againMs = Math.max(lookEveryMs, goneAfterMs / 3)
      if (!remaining.none) await clock.sleep(againMs, signal).catch(() => {})
    }
    if (signal.aborted) return
    await this.#unbindDrained().catch((error: unknown) =>
      log.warn({ code: codeOf(error) }, amqpMessageOf(error)),
    )
    this.#tellDrained()
  }

  /** A broker that was restored, or a version that was gone back to, has bound them again. */
  async #unbindDrained(): Promise<void> {
    for (const former of this.#options.queues) {
      if (!this.#remaining.isDrained(former)) continue
      if (!this.#unbound.has(former.queue)) await this.#options.unbind(former)
      this.#unbound.add(former.queue)
    }
  }

  async #attempt(): Promise<void> {
    const { register } = this.#options
    await this.#learn()
    const lock = this.#remaining.none ? undefined : await register.lock()
    if (!lock) return
    try {
      // Whoever had the lock may have finished since, and reads what is drained: nobody is alone there any more.
      await this.#learn()
      const signal = AbortSignal.any([this.#stopping.signal, lock.lost])
      // Every partition may wait on it at once.
      setMaxListeners(0, signal)
      if (!this.#remaining.none) await this.#upgrade(signal)
    } finally {
      try {
        await this.#leave()
      } finally {
        await lock.release()
      }
    }
  }

  /** Whoever has the lock next must be able to be the only one in line. Who stops settles what is under way first. */
  async #leave(): Promise<void> {
    const { ordered, line, clock } = this.#options
    if (!ordered || this.#stopping.signal.aborted) return
    const left = this.#remaining.queues().map((former) => line.leave(former))
    await atMost(Promise.all(left), closeTimeoutMs, clock)
  }

  async #learn(): Promise<void> {
    const names = this.#remaining.queues().map(({ queue }) => queue)
    for (const queue of await this.#options.register.drained(names)) this.#finish(queue)
  }

  async #upgrade(signal: AbortSignal): Promise<void> {
    for (const former of this.#remaining.queues()) this.#subscribe(former)
    this.#step('subscribed')
    await this.#alone(signal)
    this.#step('alone')
    // None is left working when this is over: what it had found out would not hold without its place in line.
    const moved = await Promise.allSettled(
      [...this.#remaining.partitions()].map((partition) => this.#keepMoving(partition, signal)),
    )
    for (const one of moved) if (one.status === 'rejected') throw one.reason
  }

  /** A partition that fails is tried again by itself, and holds up no other. */
  async #keepMoving(partition: number, signal: AbortSignal): Promise<void> {
    const { log, clock, random } = this.#options
    for (let failures = 1; ; failures++) {
      try {
        return await this.#move(partition, signal)
      } catch (error) {
        signal.throwIfAborted()
        if (failures === 1)
          log.warn(
            { partition, code: codeOf(error) },
            `draining a former queue later: ${amqpMessageOf(error)}`,
          )
        await clock.sleep(backoffMs(failures, afterFailure, random), signal)
      }
    }
  }

  /** Not proof, and none is needed: until then an instance of the former version would take our probes for events. */
  async #alone(signal: AbortSignal): Promise<void> {
    const { log, clock, register, goneAfterMs } = this.#options
    let told = false
    for (let sinceMs = clock.monotonicMs(); clock.monotonicMs() - sinceMs < goneAfterMs;) {
      const instances = await register.olderInstances()
      signal.throwIfAborted()
      if (instances.length > 0) sinceMs = clock.monotonicMs()
      if (instances.length > 0 && !told) {
        log.info({ instances }, 'waiting until the instances of the former version have stopped')
        told = true
      }
      await clock.sleep(lookEveryMs, signal)
    }
  }

  async #move(partition: number, signal: AbortSignal): Promise<void> {
    const { ordered, clock, line, register } = this.#options
    const former = this.#remaining.queues().filter((one) => one.partition === partition)
    // In this order: what comes in between is in both queues, and in one at the least.
    await this.#options.bind(partition)
    this.#step('bound', partition)
    for (const one of former) {
      await this.#options.unbind(one)
      this.#unbound.add(one.queue)
    }
    this.#step('unbound', partition)
    signal.throwIfAborted()
    if (ordered) await clock.sleep(onTheWayMs, signal)
    for (const one of former) {
      await line.emptied(one, signal)
      this.#step('drained', partition)
      signal.throwIfAborted()
      await register.note(one.queue)
      this.#step('noted', partition)
      this.#finish(one.queue)
    }
  }

  /** Its events come from the queue of today; from this one come letters that were on a rung. */
  #finish(queue: string): void {
    const former = this.#remaining.drain(queue)
    if (!former) return
    this.#subscribe(former)
    this.#remaining.tellReady(former.partition)
  }

  #subscribe(former: FormerQueue): void {
    this.#options.line.subscribe(former, this.#options.onDelivery)
  }

  #step(step: string, partition?: number): void {
    this.#options.log.debug({ step, ...(partition !== undefined && { partition }) }, 'former queues')
  }

  #tellDrained(): void {
    const { queues, line, log } = this.#options
    const there = queues.filter((former) => !line.isOver(former)).map(({ queue }) => queue)
    if (there.length === 0) return
    log.info(
      { queues: there },
      'former queues are drained; delete each with rabbitmqctl delete_queue when no letter waits on a rung of the group any more and it is empty (rabbitmqctl list_queues name messages)',
    )
  }
}
