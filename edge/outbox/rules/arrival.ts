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
 * answers of them. Each has one fate, whatever comes after it.
 */
export class Arrival {
  readonly pendings: readonly Pending[]
  readonly signal: AbortSignal | undefined
  readonly atMs: number
  /** Resolves when all are answered; rejects when all before the first that gets no answer are. */
  readonly over: Promise<void>
  readonly #answered: (admissions: readonly Admission[]) => void
  readonly #account: ArrivalAccount
  readonly #fates: (Fate | undefined)[]
  #left: number
  #told = 0
  #resolve: () => void = () => {}
  #reject: (error: unknown) => void = () => {}

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
    this.#fates = Array.from({ length: submissions.length })
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

  /** How many have no fate yet. */
  get left(): number {
    return this.#left
  }

  /** Notes an answer, which is given with the next `tell`. */
  answer(pending: Pending, admission: Admission): void {
    this.#settle(pending, { admission })
  }

  /** It gets no answer; nor do those behind it, whatever becomes of them. */
  giveUp(pending: Pending, error: unknown): void {
    this.#settle(pending, { error })
    this.tell()
  }

  /** Gives the answers that are there, in the order of the submissions, up to the first that is missing. */
  tell(): void {
    const admissions: Admission[] = []
    let fate = this.#fates[this.#told]
    for (; fate && 'admission' in fate; fate = this.#fates[this.#told]) {
      admissions.push(fate.admission)
      this.#told += 1
    }
    if (admissions.length > 0) this.#answered(admissions)
    if (fate) this.#reject(fate.error)
    else if (this.#told === this.#fates.length) this.#resolve()
  }

  #settle({ index }: Pending, fate: Fate): void {
    if (this.#fates[index]) return
    this.#fates[index] = fate
    this.#left -= 1
    this.#account.settled(this)
  }
}

type Fate = { admission: Admission } | { error: unknown }
