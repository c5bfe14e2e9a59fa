import type { Clock } from '../../src/clock.ts'
import { isAbort } from '../../src/errors.ts'
import type { Saboteur } from '../faults/saboteur.ts'
import { isInStep } from './catch-up.ts'
import { createDisturbances, type Disturbances } from './disturbances.ts'
import type { Disturbance } from './history.ts'
import type { Observer } from './observe.ts'
import { createRecorder, type Recorder, type Recording } from './recorder.ts'
import type { Snapshot } from './snapshot.ts'

export interface WatchingOptions {
  observer: Observer
  saboteur: Pick<Saboteur, 'records'>
  /** Wall clock at the start of the run, ms. */
  startedAtMs: number
  /** Ms since the fleet began. */
  elapsedMs: () => number
  clock: Clock
  onSnapshot: (snapshot: Snapshot) => void
  /** Whether it is proven now and then that nothing is missing: for whoever looks on, not while latencies are measured. */
  proves: boolean
}

/** Somebody who looks at a run again and again, and keeps what there was to be seen. */
export interface Watching {
  readonly recording: Recording
  /** The last look. */
  readonly last: Snapshot | undefined
  /** When events had to wait, so far. */
  disturbances(): Disturbance[]
  /** Looks once more, so that `last` counts what is there now; no part of the recording. */
  lookAgain(signal: AbortSignal): Promise<void>
  /** Resolves when nobody looks any more. Idempotent. @throws what a look has failed with */
  close(): Promise<void>
}

const lookEveryMs = 250
const askEveryMs = 1000
/** The first time somebody may have seen enough to ask. */
const proveEveryMs = 10_000
/** A proof reads the whole run: it takes at most so much of the time. */
const proofShare = 1 / 20

export function startWatching(options: WatchingOptions): Watching {
  return new Watcher(options)
}

class Watcher implements Watching {
  readonly recording: Recorder = createRecorder()
  readonly #options: WatchingOptions
  readonly #disturbances: Disturbances
  readonly #over = new AbortController()
  readonly #watching: Promise<unknown>
  #last: Snapshot | undefined

  constructor(options: WatchingOptions) {
    this.#options = options
    this.#disturbances = createDisturbances(options.startedAtMs)
    const { proves } = options
    this.#watching = Promise.all([
      ...(proves ? [this.#proveNowAndThen()] : []),
      this.#every(lookEveryMs, () => this.#look()),
      // The database may be away, and then there is no answer; the next one tells everything.
      this.#every(askEveryMs, () => options.observer.ask(this.#disturbances.spans()).catch(() => undefined)),
    ])
    this.#watching.catch(() => undefined)
  }

  get last(): Snapshot | undefined {
    return this.#last
  }

  disturbances(): Disturbance[] {
    return this.#disturbances.spans()
  }

  async lookAgain(signal: AbortSignal): Promise<void> {
    const { observer, elapsedMs } = this.#options
    this.#last = await observer.look(elapsedMs(), signal)
  }

  async close(): Promise<void> {
    this.#over.abort()
    await this.#watching
  }

  async #look(): Promise<void> {
    const { observer, saboteur, elapsedMs, onSnapshot } = this.#options
    const snapshot = await observer.look(elapsedMs(), this.#over.signal)
    this.#last = snapshot
    this.#disturbances.see(saboteur.records(), snapshot)
    this.recording.add(snapshot)
    onSnapshot(snapshot)
  }

  async #proveNowAndThen(): Promise<void> {
    const { observer, clock } = this.#options
    let waitMs = proveEveryMs
    const prove = async (): Promise<void> => {
      await clock.sleep(waitMs, this.#over.signal)
      if (!this.#last || !isInStep(this.#last)) return
      const startedAtMs = clock.monotonicMs()
      await observer.prove(this.#over.signal)
      waitMs = Math.max(proveEveryMs, (clock.monotonicMs() - startedAtMs) / proofShare)
    }
    await this.#every(0, prove)
  }

  async #every(periodMs: number, task: () => Promise<void>): Promise<void> {
    try {
      for (;;) {
        await task()
        await this.#options.clock.sleep(periodMs, this.#over.signal)
      }
    } catch (error) {
      if (!isAbort(error)) throw error
    }
  }
}
