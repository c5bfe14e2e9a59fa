import { hash } from 'node:crypto'
import type { DedupOptions } from '../options.ts'
import type { Store, StoreOperation } from '../../store/store.ts'
import { type Bloom, createBloom } from './bloom.ts'
import {
  allGenerations,
  generationKey,
  hashOfRememberedKey,
  rememberedKey,
  rememberedRange,
  present,
} from '../layout/keys.ts'
import type { Head } from '../layout/head.ts'

/**
 * The dedup window. IDs are remembered as 128-bit hashes in generations, each a contiguous range of keys that
 * covers an eighth of the window. Random IDs then only ever write into the newest, small range, so inserting
 * costs the same at ten million remembered IDs as at ten thousand; expiry drops the oldest generation by range,
 * without looking at the others; a Bloom filter per generation answers almost every lookup from memory. Filters
 * are rebuilt in the background after a restart; until then lookups go to the store: slower, equally right.
 */
export interface Dedup {
  /** Which of these hashes are remembered. */
  remembered(hashes: string[]): Promise<boolean[]>
  /** Adds the operations that remember `hashes`; call `committed` when the write has landed. */
  remember(hashes: string[], operations: StoreOperation[]): void
  committed(hashes: string[]): void
  /** Opens a new generation when the current one is full or old; adds the operations. */
  rotate(head: Head, steadyMs: number, operations: StoreOperation[]): void
  /** Drops generations that left the window; returns when they are gone from the disk. */
  expire(steadyMs: number): Promise<void>
  /** Fills the filters from the store; stops at `signal`. */
  warmUp(signal: AbortSignal): Promise<void>
  count(): number
}

interface Generation {
  number: number
  count: number
  /** Steady clock when it was closed, ms; undefined: current. */
  closedSteadyMs: number | undefined
  filter: Bloom
  warm: boolean
}

const generationsInWindow = 8

export function hashOf(key: string): string {
  // 22 characters: 128 of SHA-256's bits. Two of 10^12 IDs collide with a chance of 10^-15.
  return hash('sha256', key, 'base64url').slice(0, 22)
}

export async function openDedup(store: Store, head: Head, options: DedupOptions): Promise<Dedup> {
  const closed = (await store.entries(allGenerations, 10_000)).map(([key, value]) => {
    const { count, closedSteadyMs } = parseClosed(value)
    return { number: Number(key.slice(2)), count, closedSteadyMs }
  })
  return new Generations(store, options, closed, head.generation)
}

class Generations implements Dedup {
  readonly #store: Store
  readonly #options: DedupOptions
  readonly #countPerGeneration: number
  readonly #ageMsPerGeneration: number
  #current: Generation
  /** Oldest first; the current one is the last. */
  #all: Generation[]

  constructor(
    store: Store,
    options: DedupOptions,
    closed: { number: number; count: number; closedSteadyMs: number }[],
    current: { number: number; count: number },
  ) {
    this.#store = store
    this.#options = options
    this.#countPerGeneration = Math.max(1, Math.ceil(options.count / generationsInWindow))
    this.#ageMsPerGeneration = options.ageMs / generationsInWindow
    const before = closed.map(({ number, count, closedSteadyMs }) => ({
      ...this.#begin(number, count, false),
      closedSteadyMs,
    }))
    // The current generation always follows the last closed one, even where the head had to be made anew.
    const number = Math.max(current.number, (before.at(-1)?.number ?? 0) + 1)
    this.#current = this.#begin(number, current.count, false)
    this.#all = [...before, this.#current]
  }

  count(): number {
    return this.#all.reduce((sum, generation) => sum + generation.count, 0)
  }

  async remembered(hashes: string[]): Promise<boolean[]> {
    const found = Array.from<boolean>({ length: hashes.length }).fill(false)
    const keys: string[] = []
    const indexes: number[] = []
    for (const generation of this.#all) {
      hashes.forEach((hash, index) => {
        if (generation.warm && !generation.filter.mayHave(hash)) return
        keys.push(rememberedKey(generation.number, hash))
        indexes.push(index)
      })
    }
    if (keys.length === 0) return found
    const hits = await this.#store.hasMany(keys)
    hits.forEach((hit, at) => {
      if (hit) found[indexes[at] as number] = true
    })
    return found
  }

  remember(hashes: string[], operations: StoreOperation[]): void {
    for (const hash of hashes)
      operations.push({ type: 'put', key: rememberedKey(this.#current.number, hash), value: present })
  }

  committed(hashes: string[]): void {
    for (const hash of hashes) this.#current.filter.add(hash)
    this.#current.count += hashes.length
  }

  rotate(head: Head, steadyMs: number, operations: StoreOperation[]): void {
    const { number, count } = this.#current
    const full = count >= this.#countPerGeneration
    const old = count > 0 && steadyMs - head.generation.openedSteadyMs >= this.#ageMsPerGeneration
    if (!full && !old) return
    this.#current.closedSteadyMs = steadyMs
    const value = JSON.stringify({ count, closedSteadyMs: steadyMs })
    operations.push({ type: 'put', key: generationKey(number), value })
    this.#current = this.#begin(number + 1, 0, true)
    this.#all.push(this.#current)
    head.generation = { number: number + 1, count: 0, openedSteadyMs: steadyMs }
  }

  async expire(steadyMs: number): Promise<void> {
    for (;;) {
      const [oldest] = this.#all
      if (!oldest || oldest.closedSteadyMs === undefined) return
      const tooOld = steadyMs - oldest.closedSteadyMs >= this.#options.ageMs
      const tooMany = this.count() - oldest.count >= this.#options.count - this.#countPerGeneration
      if (!tooOld && !tooMany) return
      this.#all = this.#all.slice(1)
      // Range first, its entry last: a crash in between leaves an entry that is expired again.
      await this.#store.clear(rememberedRange(oldest.number))
      await this.#store.write([{ type: 'del', key: generationKey(oldest.number) }], { sync: false })
    }
  }

  async warmUp(signal: AbortSignal): Promise<void> {
    // Newest first: repeats are most likely of what came last.
    for (const generation of this.#all.toReversed()) {
      if (generation.warm) continue
      for await (const keys of this.#store.keys(rememberedRange(generation.number))) {
        if (signal.aborted) return
        for (const key of keys) generation.filter.add(hashOfRememberedKey(key))
      }
      generation.warm = true
    }
  }

  #begin(number: number, count: number, warm: boolean): Generation {
    const filter = createBloom(Math.max(this.#countPerGeneration, count))
    return { number, count, closedSteadyMs: undefined, filter, warm }
  }
}

/** An altered entry costs the truth about one generation's age, never the start. */
export function parseClosed(value: string): { count: number; closedSteadyMs: number } {
  try {
    return JSON.parse(value) as { count: number; closedSteadyMs: number }
  } catch {
    return { count: 0, closedSteadyMs: 0 }
  }
}
