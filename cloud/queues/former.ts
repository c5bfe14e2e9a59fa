import { setMaxListeners } from 'node:events'
import { backoffMs } from '../../src/backoff.ts'
import type { Clock, Random } from '../../src/clock.ts'
import { codeOf, messageOf } from '../../src/errors.ts'
import type { Logger } from '../../src/log.ts'
import type { Delivery } from '../amqp/delivery.ts'
import { atMost } from '../pipeline/timeout.ts'

/** A partition queue with the settings of a former generation. */
export interface FormerQueue {
  readonly queue: string
  readonly partition: number
}

/** Subscriptions to queues of former generations. Port; the adapter is former-rabbit.ts. */
export interface FormerLine {
  /** From now on its deliveries come, or it is in line for them. Idempotent. */
  subscribe(former: FormerQueue, onDelivery: (delivery: Delivery) => void): void
  /** Gives it up to whoever is next. */
  leave(former: FormerQueue): Promise<void>
  /** It is gone from the broker. */
  isOver(former: FormerQueue): boolean
  /**
   * Resolves when everything that was in the queue at the time of the call is settled, and nobody else has any of it in
   * hand; also when the queue is gone. Where a queue has several consumers, as those of groups without order: when it is
   * empty, and none of it is unsettled here.
   * @throws TidegateError `QUEUE_NOT_ALONE` when another consumer has it.
   */
  emptied(former: FormerQueue, signal: AbortSignal): Promise<void>
  stop(): void
  close(): Promise<void>
}

/** What instances tell each other about it. Port; the adapter is former-postgres.ts. */
export interface UpgradeRegister {
  /** Which of these were noted as drained. */
  drained(queues: readonly string[]): Promise<ReadonlySet<string>>
  note(queue: string): Promise<void>
  /** Instances of this group that are there and read queues of a former generation only. */
  olderInstances(): Promise<string[]>
  /** Undefined while another instance has it. */
  lock(): Promise<UpgradeLock | undefined>
}

export interface UpgradeLock {
  /** Aborted when another instance may have it. */
  readonly lost: AbortSignal
  release(): Promise<void>
}

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
  /** Without a sign of life for so long, an instance is gone. */
  goneAfterMs: number
  clock: Clock
  random: Random
  log: Logger
}

export interface FormerQueues {
  /** Partitions whose queue of today is not bound yet. */
  unbound(): ReadonlySet<number>
  /** Resolves when the partition's queue of today may be read; undefined: at once. */
  whenReady(partition: number): Promise<void> | undefined
  /** Queues that are still there. */
  readonly counts: { draining: number; drained: number }
  stop(): void
  close(): Promise<void>
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
export function upgradeQueues(options: UpgradeOptions): FormerQueues {
  const { queues, ordered, line, register, onDelivery, clock, log } = options
  const stopping = new AbortController()
  const drained = new Set(options.drained)
  /** By this instance, since its start. */
  const unbound = new Set<string>()
  const ready = new Map<number, { promise: Promise<void>; resolve: () => void }>()
  let closing: Promise<void> | undefined

  const left = (): FormerQueue[] => queues.filter(({ queue }) => !drained.has(queue))
  const isLeft = (partition: number): boolean => left().some((former) => former.partition === partition)

  for (const former of queues) {
    if (!ordered || drained.has(former.queue)) line.subscribe(former, onDelivery)
    if (ordered && isLeft(former.partition)) ready.set(former.partition, deferred())
  }
  const running = run()

  async function run(): Promise<void> {
    if (left().length > 0) {
      log.info(
        { queues: left().map(({ queue }) => queue) },
        'partition queues with the settings of a former version are there: they are drained into new ones',
      )
    }
    for (let failed = false; left().length > 0 && !stopping.signal.aborted;) {
      try {
        await unbindDrained()
        await attempt()
        failed = false
      } catch (error) {
        if (stopping.signal.aborted) return
        if (!failed) log.warn({ code: codeOf(error) }, `draining former queues later: ${messageOf(error)}`)
        failed = true
      }
      // Whoever has the lock is asked by nobody more often than it is missed.
      const againMs = Math.max(lookEveryMs, options.goneAfterMs / 3)
      if (left().length > 0) await clock.sleep(againMs, stopping.signal).catch(() => {})
    }
    if (stopping.signal.aborted) return
    await unbindDrained().catch((error: unknown) => log.warn({ code: codeOf(error) }, messageOf(error)))
    tell()
  }

  /** A broker that was restored, or a version that was gone back to, has bound them again. */
  async function unbindDrained(): Promise<void> {
    for (const former of queues) {
      if (drained.has(former.queue) && !unbound.has(former.queue)) await options.unbind(former)
      if (drained.has(former.queue)) unbound.add(former.queue)
    }
  }

  async function attempt(): Promise<void> {
    await learn()
    const lock = left().length > 0 ? await register.lock() : undefined
    if (!lock) return
    try {
      // Whoever had the lock may have finished since, and reads what is drained: nobody is alone there any more.
      await learn()
      const signal = AbortSignal.any([stopping.signal, lock.lost])
      // Every partition may wait on it at once.
      setMaxListeners(0, signal)
      if (left().length > 0) await upgrade(signal)
    } finally {
      try {
        // Whoever has the lock next must be able to be the only one in line. Who stops settles what is under way first.
        if (ordered && !stopping.signal.aborted)
          await atMost(Promise.all(left().map((former) => line.leave(former))), closeTimeoutMs, clock)
      } finally {
        await lock.release()
      }
    }
  }

  async function learn(): Promise<void> {
    for (const queue of await register.drained(left().map(({ queue }) => queue))) finish(queue)
  }

  async function upgrade(signal: AbortSignal): Promise<void> {
    for (const former of left()) line.subscribe(former, onDelivery)
    step('subscribed')
    await alone(signal)
    step('alone')
    const partitions = [...new Set(left().map(({ partition }) => partition))]
    // None is left working when this is over: what it had found out would not hold without its place in line.
    const moved = await Promise.allSettled(partitions.map((partition) => keepMoving(partition, signal)))
    for (const one of moved) if (one.status === 'rejected') throw one.reason
  }

  /** A partition that fails is tried again by itself, and holds up no other. */
  async function keepMoving(partition: number, signal: AbortSignal): Promise<void> {
    for (let failures = 1; ; failures++) {
      try {
        return await move(partition, signal)
      } catch (error) {
        signal.throwIfAborted()
        if (failures === 1)
          log.warn({ partition, code: codeOf(error) }, `draining a former queue later: ${messageOf(error)}`)
        await clock.sleep(backoffMs(failures, afterFailure, options.random), signal)
      }
    }
  }

  /** Not proof, and none is needed: until then an instance of the former version would take our probes for events. */
  async function alone(signal: AbortSignal): Promise<void> {
    let told = false
    for (let sinceMs = clock.monotonicMs(); clock.monotonicMs() - sinceMs < options.goneAfterMs;) {
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

  async function move(partition: number, signal: AbortSignal): Promise<void> {
    const former = left().filter((one) => one.partition === partition)
    // In this order: what comes in between is in both queues, and in one at the least.
    await options.bind(partition)
    step('bound', partition)
    for (const one of former) {
      await options.unbind(one)
      unbound.add(one.queue)
    }
    step('unbound', partition)
    signal.throwIfAborted()
    if (ordered) await clock.sleep(onTheWayMs, signal)
    for (const one of former) {
      await line.emptied(one, signal)
      step('drained', partition)
      signal.throwIfAborted()
      await register.note(one.queue)
      step('noted', partition)
      finish(one.queue)
    }
  }

  function finish(queue: string): void {
    const former = queues.find((one) => one.queue === queue)
    if (!former || drained.has(queue)) return
    drained.add(queue)
    line.subscribe(former, onDelivery)
    if (!isLeft(former.partition)) ready.get(former.partition)?.resolve()
  }

  function step(step: string, partition?: number): void {
    log.debug({ step, ...(partition !== undefined && { partition }) }, 'former queues')
  }

  function tell(): void {
    const there = queues.filter((former) => !line.isOver(former)).map(({ queue }) => queue)
    if (there.length === 0) return
    log.info(
      { queues: there },
      'former queues are drained; delete each with rabbitmqctl delete_queue when no letter waits on a rung of the group any more and it is empty (rabbitmqctl list_queues name messages)',
    )
  }

  function stop(): void {
    stopping.abort()
    line.stop()
  }

  async function close(): Promise<void> {
    stop()
    await atMost(Promise.all([running, line.close()]), closeTimeoutMs, clock)
  }

  return {
    unbound: () => new Set(left().map(({ partition }) => partition)),
    whenReady: (partition) => ready.get(partition)?.promise,
    get counts() {
      const there = queues.filter((former) => !line.isOver(former))
      const done = there.filter(({ queue }) => drained.has(queue)).length
      return { draining: there.length - done, drained: done }
    },
    stop,
    close: () => (closing ??= close()),
  }
}

function deferred(): { promise: Promise<void>; resolve: () => void } {
  let resolve!: () => void
  const promise = new Promise<void>((done) => (resolve = done))
  return { promise, resolve }
}
