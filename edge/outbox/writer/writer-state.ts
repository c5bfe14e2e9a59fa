import type { Clock } from '../../../src/clock.ts'
import { TidegateError } from '../../../src/errors.ts'

/**
 * How the engine's writer stands: what was submitted and is not answered yet, wherever it waits (at a bound, or for a
 * disk that cannot be written), and whether its store fails.
 */
export class WriterState {
  readonly #clock: Clock
  /** In order of arrival. */
  readonly #unanswered = new Set<{ atMs: number }>()
  #failingSinceMs: number | undefined

  constructor(clock: Clock) {
    this.#clock = clock
  }

  get unanswered(): number {
    return this.#unanswered.size
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
    const [oldest] = this.#unanswered
    return nowMs - Math.min(oldest?.atMs ?? nowMs, this.#failingSinceMs ?? nowMs)
  }

  /** Counts a submission until the answer is there. */
  until<Answer>(answer: Promise<Answer>): Promise<Answer> {
    const arrival = { atMs: this.#clock.monotonicMs() }
    const answered = (): void => {
      this.#unanswered.delete(arrival)
    }
    this.#unanswered.add(arrival)
    answer.then(answered, answered)
    return answer
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
