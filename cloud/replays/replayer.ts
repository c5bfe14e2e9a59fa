import type { Clock } from '../../src/clock.ts'
import { codeOf, isAbort, messageOf, TidegateError } from '../../src/errors.ts'
import type { Logger } from '../../src/log.ts'
import type { Letter } from '../amqp/delivery.ts'
import { letterToSend } from './letter-to-send.ts'
import type { Outbound, Target } from './outbound.ts'
import { type ClaimedReplay, type MoveOptions, nextMove, type Replays } from './replays.ts'

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
/** Whatever the rate is, the claim is kept by looking. */
const paceWaitMsMax = 5_000

/**
 * Does the replays that are on record, one at a time in each instance: what is on its way of them is bounded, and so is what is in
 * memory (G7). An instance that stops or dies leaves its replay to another, which goes on where it was; a page of which nobody knows
 * whether it was sent is sent again, and what comes twice of it is a repeat.
 */
export function startReplayer(options: ReplayerOptions): { close(): Promise<void> } {
  const { clock, log, lookEveryMs = 1_000 } = options
  const stopping = new AbortController()
  const cut = new AbortController()
  const replays = options.replaysUntil(cut.signal)
  let closing: Promise<void> | undefined
  const { signal } = stopping

  async function run(): Promise<void> {
    while (!signal.aborted) {
      try {
        const claimed = await replays.claim()
        if (claimed) await new Replaying(claimed, replays, options, signal).run()
        else await clock.sleep(lookEveryMs, signal)
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

class Replaying {
  readonly #replays: Replays
  readonly #claimed: ClaimedReplay
  readonly #options: ReplayerOptions
  readonly #signal: AbortSignal
  readonly #moves: MoveOptions
  /** When the next letter may go, by the rate. */
  #nextMs: number

  constructor(claimed: ClaimedReplay, replays: Replays, options: ReplayerOptions, signal: AbortSignal) {
    const { pageMax = 50, outstandingMax = 1_000, settleWithinMs, clock } = options
    const { ratePerSecond = Infinity } = claimed.request
    this.#claimed = claimed
    this.#replays = replays
    this.#options = options
    this.#signal = signal
    // So that a rate of some a second is none of a page at once.
    this.#moves = {
      pageMax: Math.max(1, Math.min(pageMax, Math.floor(ratePerSecond))),
      outstandingMax,
      settleWithinMs,
    }
    this.#nextMs = clock.monotonicMs()
  }

  /** Until it is over, lost, or the instance stops. */
  async run(): Promise<void> {
    const { clock, log } = this.#options
    const replays = this.#replays
    const { replay, request } = this.#claimed
    const signal = this.#signal
    try {
      for (;;) {
        signal.throwIfAborted()
        const progress = await replays.look(this.#claimed)
        if (!progress) return
        const move = nextMove(progress, request, this.#moves)
        if (move.kind === 'end') {
          await replays.end(this.#claimed, move.state)
          const { total, sent, resolved, failed, returned, reason } = progress
          log.info({ replay, total, sent, resolved, failed, returned, reason }, `a replay is ${move.state}`)
          return
        }
        if (move.kind === 'send') await this.#send(move.lettersMax)
        else if (move.kind === 'step') await replays.step(this.#claimed)
        else if (move.kind === 'stop') await replays.stop(this.#claimed, move.reason)
        else if (move.kind === 'give-back') await this.#giveBack()
        else await clock.sleep(waitMs, signal)
      }
    } catch (error) {
      // Nobody has to wait for the end of the lease.
      if (signal.aborted) await replays.release(this.#claimed).catch(() => {})
      throw error
    }
  }

  async #giveBack(): Promise<void> {
    const { log, settleWithinMs } = this.#options
    const { replay } = this.#claimed
    const returned = await this.#replays.giveBack(this.#claimed)
    log.warn(
      { code: 'REPLAY_UNSETTLED', replay, returned, settleWithinMs },
      'nothing was heard of letters that were sent: they are open again',
    )
  }

  /** A page, in its order and without waiting for each: on one channel the broker takes them in the order in which they were sent. */
  async #send(lettersMax: number): Promise<void> {
    const { clock, partitions } = this.#options
    const { replay, request } = this.#claimed
    const waitedMs = this.#nextMs - clock.monotonicMs()
    if (waitedMs > 0) {
      await clock.sleep(Math.min(waitedMs, paceWaitMsMax), this.#signal)
      if (waitedMs > paceWaitMsMax) return
    }
    const letters = await this.#replays.take(this.#claimed, lettersMax)
    await this.#proven(letters.map((letter) => letterToSend(letter, replay, partitions)))
    // Also of a page whose letters have all been settled meanwhile.
    await this.#replays.sent(this.#claimed)
    const { ratePerSecond } = request
    if (ratePerSecond !== undefined)
      this.#nextMs = Math.max(this.#nextMs, clock.monotonicMs()) + (letters.length / ratePerSecond) * 1000
  }

  /** Until the broker has all of them. What it does not take goes again with what stands behind it: those it had are repeats. */
  async #proven(letters: readonly (readonly [Target, Letter])[]): Promise<void> {
    for (let left = letters; left.length > 0;) {
      this.#signal.throwIfAborted()
      const { outbound, log, clock } = this.#options
      const results = await Promise.allSettled(left.map(([target, letter]) => outbound.send(target, letter)))
      const first = results.findIndex(({ status }) => status === 'rejected')
      if (first < 0) return
      const { reason } = results[first] as PromiseRejectedResult
      if (!(reason instanceof TidegateError && reason.retryable)) throw reason
      log.warn({ code: reason.code, replay: this.#claimed.replay }, reason.message)
      left = left.slice(first)
      // The claim is kept meanwhile; who has lost it does no harm.
      await this.#replays.look(this.#claimed)
      await clock.sleep(outageWaitMs, this.#signal)
    }
  }
}
