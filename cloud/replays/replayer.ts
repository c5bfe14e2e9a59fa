import type { Clock } from '../../src/clock.ts'
import { codeOf, isAbort, messageOf, TidegateError } from '../../src/errors.ts'
import type { Logger } from '../../src/log.ts'
import type { Letter } from '../amqp/delivery.ts'
import { eventToSend } from './event-to-send.ts'
import { letterToSend } from './letter-to-send.ts'
import type { Outbound, Target } from './outbound.ts'
import {
  type ClaimedReplay,
  type MoveOptions,
  nextMove,
  type ReplayProgress,
  type Replays,
} from './replays.ts'

export interface ReplayerOptions {
  /** `signal` aborted: what is under way with the database is cut off. */
  replaysUntil(signal: AbortSignal): Replays
  outbound: Pick<Outbound, 'send'>
  partitions: number
  clock: Clock
  log: Logger
  /** How often it looks for a replay to do, ms. */
  lookEveryMs?: number
  /** Of what was sent something is heard within this, ms. */
  settleWithinMs: number
  pageMax?: number
  outstandingMax?: number
}

/** It asks again for what its letters have become. */
const waitMs = 250
const outageWaitMs = 2_000
const closeTimeoutMs = 3_000
/** Then another one has its turn. */
const turnMsMax = 2_000
/** Of a group that does not run here, whose ladder is not known here. */
const foreignSettleWithinMs = 7 * 86_400_000

/**
 * Does the replays that are on record, in turn: one that only waits, for its letters, its rate or a queue that takes nothing, is let go, so
 * that it holds up no other. What is on its way of each is bounded, and so is what is in memory (G7). An instance that stops or dies
 * leaves its replay to another, which goes on where it was; a page of which nobody knows whether it was sent is sent again, and what
 * comes twice of it is a repeat.
 */
export function startReplayer(options: ReplayerOptions): { close(): Promise<void> } {
  const { clock, log, lookEveryMs = 1_000 } = options
  const stopping = new AbortController()
  const cut = new AbortController()
  const replays = options.replaysUntil(cut.signal)
  let closing: Promise<void> | undefined
  const { signal } = stopping

  async function run(): Promise<void> {
    let restMs = lookEveryMs
    while (!signal.aborted) {
      try {
        const claimed = await replays.claim()
        if (claimed) {
          restMs = Math.min(restMs, await new Turn(claimed, replays, options, signal).run())
        } else {
          await clock.sleep(restMs, signal)
          restMs = lookEveryMs
        }
      } catch (error) {
        if (signal.aborted || isAbort(error)) continue
        log.warn({ code: codeOf(error) }, `a replay waits: ${messageOf(error)}`)
        await clock.sleep(outageWaitMs, signal).catch(() => {})
      }
    }
  }

  const running = run()

  async function close(): Promise<void> {
    stopping.abort()
    const timer = clock.after(closeTimeoutMs, () => cut.abort())
    await running
    timer.cancel()
  }

  return { close: () => (closing ??= close()) }
}

class Turn {
  readonly #replays: Replays
  readonly #claimed: ClaimedReplay
  readonly #options: ReplayerOptions
  readonly #signal: AbortSignal
  readonly #moves: MoveOptions

  constructor(claimed: ClaimedReplay, replays: Replays, options: ReplayerOptions, signal: AbortSignal) {
    // What lies in history is smaller than what once failed with all of its story.
    const { pageMax = claimed.request.history ? 200 : 50, outstandingMax = 1_000, settleWithinMs } = options
    const { ratePerSecond = Infinity } = claimed.request
    this.#claimed = claimed
    this.#replays = replays
    this.#options = options
    this.#signal = signal
    this.#moves = {
      // So that a rate of some a second is none of a page at once.
      pageMax: Math.max(1, Math.min(pageMax, Math.floor(ratePerSecond))),
      outstandingMax,
      settleWithinMs: claimed.isOurs ? settleWithinMs : Math.max(settleWithinMs, foreignSettleWithinMs),
    }
  }

  /** Until it is over or lost, has nothing to do, or has had its time. @returns after what time there is something to do again, ms. */
  async run(): Promise<number> {
    const { clock } = this.#options
    const sinceMs = clock.monotonicMs()
    // Nobody has to wait for the end of the lease.
    let afterMs = outageWaitMs
    try {
      for (;;) {
        if (this.#signal.aborted) return (afterMs = 0)
        const next = await this.#move()
        if (next === 'over') return Infinity
        afterMs = next
        if (afterMs > 0 || clock.monotonicMs() - sinceMs >= turnMsMax) return afterMs
        afterMs = outageWaitMs
      }
    } finally {
      await this.#replays.release(this.#claimed, afterMs).catch(() => {})
    }
  }

  /** One move of it, and after what time the next may be made, ms. */
  async #move(): Promise<number | 'over'> {
    const replays = this.#replays
    const progress = await replays.look(this.#claimed)
    if (!progress) return 'over'
    const move = nextMove(progress, this.#claimed.request, this.#moves)
    switch (move.kind) {
      case 'end':
        await this.#end(progress, move.state)
        return 'over'
      case 'send':
        return this.#send(move.lettersMax)
      case 'step':
        await replays.step(this.#claimed)
        return 0
      case 'stop':
        await replays.stop(this.#claimed, move.reason)
        return 0
      case 'give-back':
        await this.#giveBack()
        return 0
      case 'wait':
        return waitMs
    }
  }

  async #end(progress: ReplayProgress, state: 'done' | 'stopped'): Promise<void> {
    const { replay } = this.#claimed
    await this.#replays.end(this.#claimed, state)
    const { total, sent, resolved, failed, returned, reason } = progress
    this.#options.log.info(
      { replay, total, sent, resolved, failed, returned, reason },
      `a replay is ${state}`,
    )
  }

  async #giveBack(): Promise<void> {
    const { log, settleWithinMs } = this.#options
    const { replay } = this.#claimed
    const returned = await this.#replays.giveBack(this.#claimed)
    if (returned === 0) return
    log.warn(
      { code: 'REPLAY_UNSETTLED', replay, returned, settleWithinMs },
      'nothing is known of letters that were sent, or were to be: they are open again',
    )
  }

  /** A page. What the broker does not take goes again with all of its page: those it had are repeats. */
  async #send(lettersMax: number): Promise<number> {
    const { partitions, log } = this.#options
    const { replay, request } = this.#claimed
    const letters = await this.#replays.take(this.#claimed, lettersMax)
    try {
      await this.#proven(
        letters.map((one) =>
          one.letter === undefined
            ? eventToSend(one, replay, partitions)
            : letterToSend(one, replay, partitions),
        ),
      )
    } catch (error) {
      if (!(error instanceof TidegateError && error.retryable)) throw error
      // The page stays open. Whoever has the next turn sees whether the replay is still to go on.
      log.warn({ code: error.code, replay }, error.message)
      return outageWaitMs
    }
    // Also of a page whose letters have all been settled meanwhile.
    await this.#replays.sent(this.#claimed)
    // At the end of history as far as it can be read; what is under way there may still be of the replay.
    if (request.history && letters.length === 0) return waitMs
    return (letters.length / (request.ratePerSecond ?? Infinity)) * 1000
  }

  /** In their order and without waiting for each: on one channel the broker takes them in the order in which they were sent. */
  async #proven(letters: readonly (readonly [Target, Letter])[]): Promise<void> {
    const { outbound } = this.#options
    const results = await Promise.allSettled(letters.map(([target, letter]) => outbound.send(target, letter)))
    const failed = results.find((result) => result.status === 'rejected')
    if (failed) throw failed.reason
  }
}
