import { eventKey } from '../../../src/contract/event.ts'
import type { Admission, Submission } from '../outbox.ts'
import { hashOf } from './dedup.ts'

/** A submission on its way into the outbox. */
export interface Pending {
  readonly submission: Submission
  readonly hash: string
  readonly arrival: Arrival
  /** Its place among those it arrived with. */
  readonly index: number
}

/** What an arrival tells whoever counts what is unanswered. */
export interface ArrivalAccount {
  /** One more of its submissions is answered, or given up. */
  settled(arrival: Arrival): void
}

/**
 * Submissions that arrived together, and the caller who waits for them: one promise for all, and one call for what each write
 * answers of them.
 */
export class Arrival {
  readonly pendings: readonly Pending[]
  readonly signal: AbortSignal | undefined
  readonly atMs: number
  /** Resolves when all are answered. */
  readonly over: Promise<void>
  readonly #answered: (admissions: readonly Admission[]) => void
  readonly #account: ArrivalAccount
  readonly #admissions: (Admission | undefined)[]
  #left: number
  #told = 0
  #resolve: () => void = () => {}
  #reject: ((error: unknown) => void) | undefined

  constructor(
    submissions: readonly Submission[],
    parts: {
      answered: (admissions: readonly Admission[]) => void
      signal: AbortSignal | undefined
      account: ArrivalAccount
      atMs: number
    },
  ) {
    this.signal = parts.signal
    this.atMs = parts.atMs
    this.#answered = parts.answered
    this.#account = parts.account
    this.#left = submissions.length
    this.#admissions = Array.from({ length: submissions.length })
    this.pendings = submissions.map((submission, index) => ({
      submission,
      hash: hashOf(eventKey(submission.candidate)),
      arrival: this,
      index,
    }))
    this.over = new Promise((resolve, reject) => {
      this.#resolve = resolve
      this.#reject = reject
    })
  }

  /** How many are neither answered nor given up. */
  get left(): number {
    return this.#left
  }

  /** Notes an answer, which is given with the next `tell`. */
  answer({ index }: Pending, admission: Admission): void {
    this.#admissions[index] = admission
    this.#settled()
  }

  /** One of them gets no answer; nor do those behind it, whatever becomes of them. */
  giveUp(_pending: Pending, error: unknown): void {
    this.#reject?.(error)
    this.#reject = undefined
    this.#settled()
  }

  /** Gives the answers that are there, in the order of the submissions, up to the first that is missing. */
  tell(): void {
    if (!this.#reject) return
    const from = this.#told
    const admissions: Admission[] = []
    for (let index = from; ; index += 1) {
      const admission = this.#admissions[index]
      if (!admission) break
      admissions.push(admission)
    }
    if (admissions.length === 0) return
    this.#told += admissions.length
    this.#answered(admissions)
    if (this.#told === this.#admissions.length) this.#resolve()
  }

  #settled(): void {
    this.#left -= 1
    this.#account.settled(this)
  }
}
