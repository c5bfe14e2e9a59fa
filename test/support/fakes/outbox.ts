import { EventEmitter, once } from 'node:events'
import type { Outbox, Submission } from '../../../edge/outbox/outbox.ts'
import { type Candidate, eventKey } from '../../../src/contract/event.ts'

/** A submission, with what its text says. */
export interface Stored extends Submission {
  event: Candidate
}

export interface FakeOutbox extends Pick<Outbox, 'append' | 'appendAll'> {
  /** What was made "durable", in order. */
  readonly stored: Stored[]
  /** Submissions that wait while the gate is shut. */
  readonly waiting: number
  /** While shut, nothing becomes durable: acknowledgements are withheld. */
  shut(): void
  open(): void
  /** Rejects every append until told otherwise. */
  fail(error: Error | undefined): void
  /** Resolves once this many were stored. */
  until(count: number): Promise<Stored[]>
  /** Resolves once this many wait. */
  untilWaiting(count: number): Promise<void>
}

/** The admission side of an outbox, in memory, with a gate where the disk would be. */
export function createFakeOutbox(): FakeOutbox {
  const stored: Stored[] = []
  const seen = new Set<string>()
  let failure: Error | undefined
  let gate: { opened: Promise<unknown>; open: () => void } | undefined
  let waiting = 0
  let watchers: { done: () => boolean; resolve: () => void }[] = []

  function look(): void {
    watchers = watchers.filter(({ done, resolve }) => {
      if (!done()) return true
      resolve()
      return false
    })
  }
  function when(done: () => boolean): Promise<void> {
    return new Promise((resolve) => {
      watchers.push({ done, resolve })
      look()
    })
  }

  const append: FakeOutbox['append'] = async (submission, signal) => {
    if (gate) {
      waiting += 1
      look()
      try {
        await orAborted(gate.opened, signal)
      } finally {
        waiting -= 1
      }
    }
    if (failure) throw failure
    const key = eventKey(submission.candidate)
    if (seen.has(key)) return { kind: 'duplicate' }
    seen.add(key)
    stored.push({ ...submission, event: JSON.parse(submission.candidate.text) as Candidate })
    look()
    return { kind: 'accepted', sequence: stored.length }
  }

  return {
    append,
    /** One by one, by whatever `append` is. */
    async appendAll(submissions, answered, signal) {
      const admissions = submissions.map((submission) => this.append(submission, signal))
      for (const admission of admissions) admission.catch(() => {})
      for (const admission of admissions) answered([await admission])
    },
    stored,
    get waiting() {
      return waiting
    },
    shut() {
      if (gate) return
      gate = createGate()
    },
    open() {
      gate?.open()
      gate = undefined
    },
    fail(error) {
      failure = error
    },
    async until(count) {
      await when(() => stored.length >= count)
      return stored
    },
    untilWaiting: (count) => when(() => waiting >= count),
  }
}

function createGate(): { opened: Promise<unknown>; open: () => void } {
  const events = new EventEmitter()
  return { opened: once(events, 'open'), open: () => void events.emit('open') }
}

async function orAborted(wait: Promise<unknown>, signal: AbortSignal | undefined): Promise<void> {
  if (!signal) {
    await wait
    return
  }
  signal.throwIfAborted()
  const over = new AbortController()
  const stopped = once(signal, 'abort', { signal: over.signal }).then(
    () => signal.throwIfAborted(),
    () => {},
  )
  await Promise.race([wait, stopped]).finally(() => over.abort())
}
