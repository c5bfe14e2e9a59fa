import type { Queued } from '../outbox.ts'
import { type Core, lowestQueued } from './core.ts'
import { createLanes } from '../rules/lanes.ts'
import type { Pace } from '../rules/pace.ts'
import type { StoredEvent } from '../layout/record.ts'
import type { State } from '../opening/state.ts'

/** What the departures ask of the engine's writer. */
export interface DepartureWriter {
  release(events: StoredEvent[]): Promise<void>
  /** The store failed while it was read: opens it again, unless that has been done already. */
  reload(state: State, error: unknown): Promise<void>
}

/** What is handed out: read, in flight, then released or given back. Reading never deletes (I4). */
export class Departures {
  readonly #core: Core
  readonly #pace: Pace
  readonly #writer: DepartureWriter
  #wakeReader: (() => void) | undefined

  constructor(core: Core, pace: Pace, writer: DepartureWriter) {
    this.#core = core
    this.#pace = pace
    this.#writer = writer
  }

  async take(eventsMax: number): Promise<Queued[]> {
    const { state, handed } = this.#core
    const { lanes: source, head } = state
    const isBeingRemoved = ({ position }: StoredEvent): boolean => this.#core.removing.has(position)
    this.#core.reading = source.next
    if (!this.#core.removal) {
      this.#core.removing.clear()
      state.gone.forgetEmptied()
    }
    try {
      const events = await source.read(eventsMax, head, (position) => handed.busy(position))
      // Whether these are removed is not known before that write has landed; what stands behind them must not overtake (G6).
      while (this.#core.removal && source === this.#core.state.lanes && events.some(isBeingRemoved)) {
        await this.#core.removal.over
      }
      // The uplink was lost, or the store was opened again, while we read: these will be read again.
      if (source !== this.#core.state.lanes) return []
      const taken = events.filter((event) => !isBeingRemoved(event))
      for (const event of taken) handed.inFlight.set(event.position, event)
      return taken
    } catch (error) {
      await this.#writer.reload(state, error)
      return []
    } finally {
      this.#core.reading = undefined
    }
  }

  async ready(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      const waitMs = this.#core.state.lanes.waitMs(this.#core.state.head)
      if (waitMs === 0) return
      await new Promise<void>((resolve) => {
        const timer = waitMs === Infinity ? undefined : this.#core.options.clock.after(waitMs, () => done())
        const done = (): void => {
          timer?.cancel()
          signal.removeEventListener('abort', done)
          resolve()
        }
        this.#wakeReader = done
        signal.addEventListener('abort', done, { once: true })
      })
    }
  }

  async release(events: readonly Queued[]): Promise<void> {
    const { inFlight, releasing } = this.#core.handed
    const proven: StoredEvent[] = []
    for (const { position } of events) {
      const event = inFlight.get(position)
      if (!event) continue
      inFlight.delete(position)
      releasing.set(position, event)
      proven.push(event)
    }
    if (proven.length > 0) await this.#writer.release(proven)
  }

  rewind(): void {
    const first = { high: lowestQueued(this.#core, 'high'), normal: lowestQueued(this.#core, 'normal') }
    const { handed, state, options } = this.#core
    handed.inFlight.clear()
    const { store, gone } = state
    state.lanes = createLanes({ store, gone, pace: this.#pace, options: options.lanes, first })
    this.wake()
  }

  /** The store was opened again: of what is read anew, that is backlog which was before. */
  goOnWith(state: State): void {
    const { options, state: before } = this.#core
    const { boundary } = before.lanes
    state.lanes = createLanes({
      store: state.store,
      gone: state.gone,
      pace: this.#pace,
      options: options.lanes,
      first: state.head.first,
      boundary,
    })
    this.#core.state = state
  }

  resumed(): void {
    const { head } = this.#core.state
    this.#core.state.lanes.split(head.position, head.depth.normal)
    this.wake()
  }

  /** There may be something to take now. */
  wake(): void {
    this.#wakeReader?.()
    this.#wakeReader = undefined
  }
}
