import type { Clock } from '../../../src/clock.ts'
import { TidegateError } from '../../../src/errors.ts'
import type { Arrival, ArrivalAccount } from '../rules/arrival.ts'

/**
 * How the engine's writer stands: what was submitted and is not answered yet, wherever it waits (at a bound, or for a
 * disk that cannot be written), and whether its store fails.
 */
export class WriterState implements ArrivalAccount {
  readonly #clock: Clock
  /** Those of which some are unanswered, in their order. */
  readonly #arrivals = new Set<Arrival>()
  #unanswered = 0
  #failingSinceMs: number | undefined

  constructor(clock: Clock) {
    this.#clock = clock
  }

  get unanswered(): number {
    return this.#unanswered
  }

  /** The store failed, and no write has landed since. */
  get failing(): boolean {
    return this.#failingSinceMs !== undefined
  }

  set failing(failing: boolean) {
    if (failing) this.#failingSinceMs ??= this.#clock.monotonicMs()
    else this.#failingSinceMs = undefined
  }

  /** For how long a submission has waited, or the store has failed: the longer of the two. */
  stuckMs(): number {
    const nowMs = this.#clock.monotonicMs()
    const [oldest] = this.#arrivals
    return nowMs - Math.min(oldest?.atMs ?? nowMs, this.#failingSinceMs ?? nowMs)
  }

  /** Counts each of its submissions until that is answered or given up. */
  begin(arrival: Arrival): void {
    this.#arrivals.add(arrival)
    this.#unanswered += arrival.left
  }

  settled(arrival: Arrival): void {
    this.#unanswered -= 1
    if (arrival.left === 0) this.#arrivals.delete(arrival)
  }
}

export function closedError(): TidegateError {
  return new TidegateError('OUTBOX_CLOSED', {
    message: 'the outbox is closed',
    retryable: true,
    hint: 'the gateway is stopping; the device keeps the event and sends it again',
  })
}

export function busyError(waitingMax: number): TidegateError {
  return new TidegateError('OUTBOX_BUSY', {
    message: `${waitingMax} submissions wait for room already`,
    retryable: true,
    hint: 'the device keeps the event and sends it again; raise outbox.waitingMax if memory allows',
  })
}
