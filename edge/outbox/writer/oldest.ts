import { bothLanes, type Lane } from '../outbox.ts'
import { type Core, lowestQueued } from './core.ts'
import type { Draft } from './draft.ts'
import { creditOf } from '../layout/head.ts'
import { eventRange } from '../layout/keys.ts'
import { queuedIn } from '../layout/queued.ts'
import { decodeRecord } from '../layout/record.ts'

/**
 * When the oldest event of each lane was admitted, by the steady clock. Known at once where a lane was empty before a
 * write; behind what was released or evicted, the next oldest is read from the store by `look()`.
 */
export class Oldest {
  readonly #core: Core
  readonly #admittedMs: Record<Lane, number> = { high: 0, normal: 0 }
  /** How often a lane has begun anew. */
  readonly #begun: Record<Lane, number> = { high: 0, normal: 0 }

  constructor(core: Core) {
    this.#core = core
  }

  /** 0 for an empty lane. */
  agesMs(): Record<Lane, number> {
    const { high, normal } = this.#core.state.head.depth
    const nowMs = this.#core.steady.now()
    const ageMs = (lane: Lane): number => Math.max(0, nowMs - this.#admittedMs[lane])
    return { high: high === 0 ? 0 : ageMs('high'), normal: normal === 0 ? 0 : ageMs('normal') }
  }

  /** A write has landed. Where a lane holds nothing but what it brought, that is where the lane begins. */
  landed({ appended, removed, head }: Draft): void {
    for (const lane of bothLanes) {
      if (head.depth[lane] > appended.length) continue
      const brought = appended.filter((event) => event.lane === lane && !removed.has(event.position))
      const [first] = brought
      if (!first || brought.length < head.depth[lane]) continue
      this.#admittedMs[lane] = first.admittedSteadyMs
      this.#begun[lane] += 1
    }
  }

  /** Reads what stands first. */
  async look(): Promise<void> {
    for (const lane of bothLanes) {
      const { state } = this.#core
      const begun = this.#begun[lane]
      const lowest = lowestQueued(this.#core, lane)
      const [entry] = queuedIn(await state.store.entries(eventRange(lane, lowest), 1), state.gone, lowest)
      // Begun anew while we read: what we found has left.
      if (!entry || begun !== this.#begun[lane]) continue
      const { position, admittedSteadyMs } = decodeRecord(entry)
      this.#admittedMs[lane] = admittedSteadyMs + creditOf(state.head, position)
    }
  }
}
