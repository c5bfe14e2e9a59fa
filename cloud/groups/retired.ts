import { amqpMessageOf } from '../../src/amqp/faults-rabbit.ts'
import { decodeEvent } from '../../src/contract/codec.ts'
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
  key: Buffer
  bareKey: Buffer
}

/** What is known of the group and of history. Port; the adapter is retired-postgres.ts. */
export interface RetiredRegister {
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
/** What history does not have yet it has in a moment: it gets the same from a queue of its own. */
const askAgainMs = 1_000
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
export function startRetiring(options: RetiringOptions): { close(): Promise<void> } {
  const retiring = new Retiring(options)
  const running = retiring.run()
  let closing: Promise<void> | undefined
  return { close: () => (closing ??= retiring.stop(running)) }
}

class Retiring {
  readonly #options: RetiringOptions
  readonly #stopping = new AbortController()
  #pending: Delivery[] = []

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
    const { queues } = this.#options
    if ((await queues.existing()).length === 0) return true
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
      this.#options.log.info(
        { queues: there.map(({ queue }) => queue) },
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
      await Promise.all(queues.map((queue) => line.leave(queue)))
    }
  }

  /** Acknowledges what history has, and asks again for the rest. */
  async #settle(signal: AbortSignal): Promise<void> {
    const { register, clock, log } = this.#options
    while (!signal.aborted) {
      const asked = this.#pending.splice(0, askAtOnce).filter((delivery) => !delivery.lost)
      let left = asked
      try {
        if (asked.length > 0) {
          const kept = await register.kept(asked.map(keptAs))
          left = asked.filter((_, index) => !kept.has(index))
          for (const index of kept) asked[index]?.ack()
        }
      } catch (error) {
        log.warn({ code: codeOf(error) }, 'whether history has what is left of a group is asked later')
      }
      this.#pending.push(...left)
      const waitMs = left.length > 0 ? askAgainMs : this.#pending.length > 0 ? 0 : 20
      await clock.sleep(waitMs, signal).catch(() => {})
    }
  }

  #step(step: string): void {
    this.#options.log.debug({ step }, 'a group that this version has not any more')
  }
}

function keptAs(delivery: Delivery): Kept {
  const identity = identityOf(delivery)
  return { identity, key: letterKey(delivery, identity), bareKey: letterKey(delivery, undefined) }
}

function identityOf({ text, batchFault }: Delivery): EventIdentity | undefined {
  if (batchFault) return undefined
  try {
    const { source, id } = decodeEvent(text.toString())
    return { source, id }
  } catch {
    return undefined
  }
}
