import { codeOf } from '../../../src/errors.ts'
import type { EngineOptions } from '../options.ts'
import type { Pace } from '../rules/pace.ts'
import { type Known, type Loaded, loadOutbox } from './recovery.ts'
import { readState, type State } from './state.ts'

/** Opens the folder, and minds the space held back in it for the day the disk is full. */
export class Loader {
  readonly #options: EngineOptions
  readonly #pace: Pace
  /** Held back from the first time there is room for it. */
  #reserveSpent = false
  #everRestored = false

  constructor(options: EngineOptions, pace: Pace) {
    this.#options = options
    this.#pace = pace
  }

  /** @throws TidegateError `OUTBOX_LOCKED` | `DATA_FOLDER_UNWRITABLE` | `STORE_UNAVAILABLE` | `STORE_NEWER` */
  async load(known: Known = {}): Promise<Loaded> {
    const { folder, gateway } = this.#options
    const identity = { gateway, newEpoch: () => this.#options.newEpoch() }
    try {
      return await loadOutbox(folder, identity, known)
    } catch (error) {
      if (codeOf(error) !== 'STORE_UNAVAILABLE') throw error
      // Opening writes a little; on a full disk that is what the reserve is for.
      await this.spendReserve()
      return loadOutbox(folder, identity, known)
    }
  }

  async stateOf(loaded: Loaded): Promise<State> {
    const { dedup, lanes } = this.#options
    try {
      return await readState(loaded, { dedup, lanes, pace: this.#pace })
    } catch (error) {
      // Nobody else knows of it: left open, it would lock us out.
      await loaded.store.close()
      throw error
    }
  }

  async spendReserve(): Promise<void> {
    await this.#options.folder.spendReserve()
    this.#reserveSpent = true
  }

  /** Holds the space back: at the first opening, and again when there is room after it was spent. */
  async restoreReserve(diskFreeBytes: number): Promise<void> {
    const room = diskFreeBytes > 2 * this.#options.quota.diskFreeBytesMin
    if (this.#reserveSpent ? !room : this.#everRestored) return
    await this.#options.folder.restoreReserve()
    this.#reserveSpent = false
    this.#everRestored = true
  }
}
