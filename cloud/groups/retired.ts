import { amqpMessageOf } from '../../src/amqp/faults-rabbit.ts'
import { decodeEvent } from '../../src/contract/codec.ts'
import type { Event } from '../../src/contract/event.ts'
import type { Clock } from '../../src/clock.ts'
import { codeOf } from '../../src/errors.ts'
import { atMost } from '../../src/lifecycle.ts'
import type { Logger } from '../../src/log.ts'
import type { Delivery } from '../amqp/delivery.ts'
import type { EventIdentity } from '../database/storage.ts'
import { letterKey } from '../letters/key.ts'
import type { FormerLine, FormerQueue, UpgradeRegister } from '../queues/former.ts'

/** What a message is known by in history: as an event, or as a letter of one that it did not take. */
export interface Kept {
  identity: EventIdentity | undefined
  /** Of an event: where its gateway has it, and when that recorded it (RFC 3339). */
  place: { gateway: string; epoch: string; sequence: number; recordedTime: string } | undefined
  key: Buffer
  bareKey: Buffer
}

/** What is known of the group and of history. Port; the adapter is retired-postgres.ts. */
export interface RetiredRegister {
  /** Whether queues of its name are those of what was built in: on record since the upgrade, until they were removed. */
  isOurs(): Promise<boolean>
  /** They are removed: who has such queues from now on has them for something else. Idempotent. */
  removed(): Promise<void>
  /** Instances that work at the group. */
  present(): Promise<string[]>
  /** Which of these, by their place, history has: as events, or as letters of its own. */
  kept(messages: readonly Kept[]): Promise<ReadonlySet<number>>
}

/** Its queues in the broker. Port; the adapter is retired-rabbit.ts. */
export interface RetiredQueues {
  /** Those that exist, rungs first. */
  existing(): Promise<FormerQueue[]>
  /** From now on no event comes to them. Idempotent. */
  unbind(queues: readonly FormerQueue[]): Promise<void>
  /** Deletes them, and the copies that other tools see of its letters. Idempotent. */
  remove(queues: readonly FormerQueue[]): Promise<void>
}

export interface RetiringOptions {
  queues: RetiredQueues
  line: FormerLine
  register: RetiredRegister
  lock: UpgradeRegister['lock']
  goneAfterMs: number
  clock: Clock
  log: Logger
}

const lookEveryMs = 500
const againMs = 10_000
/** What history does not have yet it has in a moment: it gets the same from a queue of its own. What it never gets is asked for seldom. */
const askAgain = { delayMsMin: 1_000, delayMsMax: 300_000 }
/** Asked for so often in vain, for a minute: somebody is to look, and it is asked for ever more seldom. */
const askedInVain = 60
const askAtOnce = 200
const closeTimeoutMs = 3_000

/**
 * Lets the queues of a group go that this version has not any more, and loses nothing of them (G5), wherever the process is killed: each
 * step may be done again, and the next start begins at the first.
 *
 *     alone:     instances of the former version are gone, which go on working until then
 *     unbound:   no event comes any more
 *     drained:   each message that was left is in history, or was refused by it; what is not stays
 *     removed:   the queues, rungs first
 *
 * One instance does this at a time.
 */
export function startRetiring(options: RetiringOptions): RetiringGroup {
  const retiring = new Retiring(options)
  const running = retiring.run()
  let closing: Promise<void> | undefined
  return {
    get waiting() {
      return retiring.waiting
    },
    close: () => (closing ??= retiring.stop(running)),
  }
}

export interface RetiringGroup {
  /** Messages of its queues that history does not have, as far as this instance has seen: they stay there. */
  readonly waiting: number
  close(): Promise<void>
}

class Retiring {
  readonly #options: RetiringOptions
  readonly #stopping = new AbortController()
  #pending: Delivery[] = []
  /** Of those, what was asked for in vain. */
  waiting = 0

  constructor(options: RetiringOptions) {
    this.#options = options
  }

  async run(): Promise<void> {
    const { clock, log } = this.#options
    const { signal } = this.#stopping
    for (let failed = false; !signal.aborted;) {
      try {
        if (await this.#attempt(signal)) return
        failed = false
      } catch (error) {
        if (signal.aborted) return
        if (!failed) log.warn({ code: codeOf(error) }, `its queues are let go later: ${amqpMessageOf(error)}`)
        failed = true
      }
      await clock.sleep(againMs, signal).catch(() => {})
    }
  }

  async stop(running: Promise<void>): Promise<void> {
    const { line, clock } = this.#options
    this.#stopping.abort()
    line.stop()
    await atMost(Promise.all([running, line.close()]), closeTimeoutMs, clock)
  }

  /** Whether there is nothing left to be done. */
  async #attempt(stopped: AbortSignal): Promise<boolean> {
    const { queues, register, log } = this.#options
    const found = await queues.existing()
    if (!(await register.isOurs())) {
      if (found.length > 0) log.warn({ code: 'QUEUES_NOT_OURS', queues: namesOf(found) }, notOursText)
      return true
    }
    if (found.length === 0) {
      await register.removed()
      return true
    }
    const lock = await this.#options.lock()
    if (!lock) return false
    try {
      const signal = AbortSignal.any([stopped, lock.lost])
      await this.#alone(signal)
      const there = await queues.existing()
      await queues.unbind(there)
      this.#step('unbound')
      await this.#drain(there, signal)
      this.#step('drained')
      signal.throwIfAborted()
      await queues.remove(there)
      await register.removed()
      log.info(
        { queues: namesOf(there) },
        'the queues of a group of a former version are gone: history has what was in them',
      )
      return true
    } finally {
      await lock.release()
    }
  }

  async #alone(signal: AbortSignal): Promise<void> {
    const { register, clock, goneAfterMs } = this.#options
    for (let sinceMs = clock.monotonicMs(); clock.monotonicMs() - sinceMs < goneAfterMs;) {
      if ((await register.present()).length > 0) sinceMs = clock.monotonicMs()
      await clock.sleep(lookEveryMs, signal)
    }
    this.#step('alone')
  }

  async #drain(queues: readonly FormerQueue[], signal: AbortSignal): Promise<void> {
    const { line } = this.#options
    const drained = new AbortController()
    const settling = this.#settle(AbortSignal.any([signal, drained.signal]))
    try {
      for (const queue of queues) line.subscribe(queue, (delivery) => this.#pending.push(delivery))
      for (const queue of queues) await line.emptied(queue, signal)
      // From here on a rung may be gone before the queue that it would bring its letters to.
    } finally {
      drained.abort()
      await settling
      this.#pending = []
      this.waiting = 0
      await Promise.all(queues.map((queue) => line.leave(queue)))
    }
  }

  /** Acknowledges what history has, and asks again for the rest: ever more seldom, while nothing comes of it. */
  async #settle(signal: AbortSignal): Promise<void> {
    const { clock } = this.#options
    let inVain = 0
    while (!signal.aborted) {
      const asked = this.#pending.splice(0)
      const left: Delivery[] = []
      for (let from = 0; from < asked.length && !signal.aborted; from += askAtOnce)
        left.push(...(await this.#unsettled(asked.slice(from, from + askAtOnce))))
      inVain =
        left.length > 0 && left.length === asked.length && left.length === this.waiting ? inVain + 1 : 0
      this.waiting = left.length
      if (inVain === askedInVain) this.#tellOf(left)
      await this.#untilMore(left.length > 0 ? askAgainMsAfter(inVain) : quietMs, signal, clock)
      this.#pending.push(...left)
    }
  }

  /** Those that history does not have, or not yet. */
  async #unsettled(asked: readonly Delivery[]): Promise<Delivery[]> {
    const { register, log } = this.#options
    const there = asked.filter((delivery) => !delivery.lost)
    try {
      const kept = await register.kept(there.map(keptAs))
      for (const index of kept) there[index]?.ack()
      return there.filter((_, index) => !kept.has(index))
    } catch (error) {
      log.warn({ code: codeOf(error) }, 'whether history has what is left of a group is asked later')
      return there
    }
  }

  /** What comes meanwhile is not to wait for what has waited for long. */
  async #untilMore(waitMs: number, signal: AbortSignal, clock: Clock): Promise<void> {
    for (let waitedMs = 0; waitedMs < waitMs && !signal.aborted && this.#pending.length === 0;) {
      const stepMs = Math.min(waitMs - waitedMs, askAgain.delayMsMin)
      await clock.sleep(stepMs, signal).catch(() => {})
      waitedMs += stepMs
    }
  }

  #tellOf(left: readonly Delivery[]): void {
    const queues: Record<string, number> = {}
    for (const { queue } of left) queues[queue] = (queues[queue] ?? 0) + 1
    this.#options.log.warn({ code: 'MESSAGES_NOT_IN_HISTORY', queues }, notInHistoryText)
  }

  #step(step: string): void {
    this.#options.log.debug({ step }, 'a group that this version has not any more')
  }
}

const quietMs = 20

function askAgainMsAfter(inVain: number): number {
  return Math.min(
    askAgain.delayMsMax,
    askAgain.delayMsMin * 2 ** Math.min(Math.max(0, inVain - askedInVain), 20),
  )
}

const namesOf = (queues: readonly FormerQueue[]): string[] => queues.map(({ queue }) => queue)

const notOursText =
  'there are queues of a group that this version has not, and that nobody reads: if they are of the rollups that were built in, delete them (docs/OPERATIONS.md)'
const notInHistoryText =
  'messages of a group of a former version are not in history: they stay in its queues, which stay with them (docs/OPERATIONS.md)'

function keptAs(delivery: Delivery): Kept {
  const event = eventOf(delivery)
  const identity = event && { source: event.source, id: event.id }
  return {
    identity,
    place: event && placeOf(event),
    key: letterKey(delivery, identity),
    bareKey: letterKey(delivery, undefined),
  }
}

function placeOf({ gateway, epoch, sequence, recordedtime }: Event): Kept['place'] {
  return { gateway, epoch, sequence, recordedTime: recordedtime }
}

function eventOf({ text, batchFault }: Delivery): Event | undefined {
  if (batchFault) return undefined
  try {
    return decodeEvent(text.toString())
  } catch {
    return undefined
  }
}
