import { hash } from 'node:crypto'
import type { DedupOptions } from '../options.ts'
import type { Store, StoreOperation } from '../../store/store.ts'
import type { Head } from '../layout/head.ts'
import { allFilters, allGenerations, generationKey, parseGenerationKey } from '../layout/keys.ts'
import { Generation, type Closed, hashLength, parseClosed } from './generation.ts'

/**
 * The dedup window. IDs are remembered as 128-bit hashes in generations, each an eighth of the window. The newest is exact
 * in memory and lies on the disk as it came, a record for each write; one that is closed is sorted once, and of it only a Bloom
 * filter stays in memory, which answers almost every question. So inserting costs the same at ten million remembered IDs as at ten
 * thousand, a restart reads one generation or two and the filters of the others, and forgetting drops a generation by its ranges.
 */
export interface Dedup {
  /** Which of these hashes are remembered. */
  remembered(hashes: readonly string[]): Promise<boolean[]>
  /** Adds the operation that remembers `hashes` of a write behind `position`; call `committed` when it has landed. */
  remember(hashes: readonly string[], position: number, operations: StoreOperation[]): void
  committed(hashes: readonly string[]): void
  /** Opens a new generation when the current one is full or old; adds the operations. */
  rotate(head: Head, steadyMs: number, operations: StoreOperation[]): void
  /** Sorts what was closed since. */
  settle(): Promise<void>
  /** Drops generations that left the window; returns when they are gone from the disk. */
  expire(steadyMs: number): Promise<void>
  count(): number
}

const generationsInWindow = 8

export function hashOf(key: string): string {
  // 128 of SHA-256's bits: two of 10^12 IDs collide with a chance of 10^-15.
  return hash('sha256', key, 'hex').slice(0, hashLength)
}

/** Dedup on what the store remembers, which is read when it is asked for the first time. */
export async function openDedup(store: Store, head: Head, options: DedupOptions): Promise<Dedup> {
  const entries = await store.entries(allGenerations, 10_000)
  const closed = entries.map(([key, value]) =>
    Generation.found(store, parseGenerationKey(key), parseClosed(value)),
  )
  // The current generation always follows the last closed one, even where the head had to be made anew.
  const number = Math.max(head.generation.number, (closed.at(-1)?.number ?? 0) + 1)
  const count = number === head.generation.number ? head.generation.count : 0
  return new Generations(store, options, [...closed, Generation.found(store, number, { count })])
}

class Generations implements Dedup {
  readonly #store: Store
  readonly #options: DedupOptions
  readonly #countPerGeneration: number
  readonly #ageMsPerGeneration: number
  #current: Generation
  /** Closed by a write that may not have landed: a run to come may find it open. */
  #closing: Generation | undefined
  /** Oldest first; the current one is the last. */
  #all: Generation[]
  #reading: Promise<void> | undefined

  constructor(store: Store, options: DedupOptions, all: Generation[]) {
    this.#store = store
    this.#options = options
    this.#countPerGeneration = Math.max(1, Math.ceil(options.count / generationsInWindow))
    this.#ageMsPerGeneration = options.ageMs / generationsInWindow
    this.#current = all.at(-1) as Generation
    this.#all = all
  }

  count(): number {
    return this.#all.reduce((sum, generation) => sum + generation.count, 0)
  }

  async remembered(hashes: readonly string[]): Promise<boolean[]> {
    await this.#read()
    const generations = this.#all
    const found: boolean[] = []
    const lookups: { generation: Generation; hash: string; index: number }[] = []
    for (let index = 0; index < hashes.length; index += 1) {
      const hash = hashes[index] as string
      found.push(false)
      for (const generation of generations) if (generation.knows(hash)) found[index] = true
      if (found[index]) continue
      for (const generation of generations)
        if (generation.mayHave(hash)) lookups.push({ generation, hash, index })
    }
    if (lookups.length === 0) return found
    const hits = await Promise.all(lookups.map(({ generation, hash }) => generation.lookUp(hash)))
    hits.forEach((hit, at) => {
      const lookup = lookups[at]
      if (hit && lookup) found[lookup.index] = true
    })
    return found
  }

  remember(hashes: readonly string[], position: number, operations: StoreOperation[]): void {
    if (hashes.length === 0) return
    operations.push({ type: 'put', key: this.#current.keyBehind(position), value: hashes.join('') })
  }

  committed(hashes: readonly string[]): void {
    this.#closing = undefined
    this.#current.add(hashes)
  }

  rotate(head: Head, steadyMs: number, operations: StoreOperation[]): void {
    const { number, count } = this.#current
    const full = count >= this.#countPerGeneration
    const old = count > 0 && steadyMs - head.generation.openedSteadyMs >= this.#ageMsPerGeneration
    if (!full && !old) return
    this.#closing = this.#current
    const closed: Closed = this.#current.close(steadyMs)
    operations.push({ type: 'put', key: generationKey(number), value: JSON.stringify(closed) })
    this.#current = Generation.fresh(this.#store, number + 1)
    this.#all.push(this.#current)
    head.generation = { number: number + 1, count: 0, openedSteadyMs: steadyMs }
  }

  async settle(): Promise<void> {
    await this.#read()
    for (const generation of this.#all)
      if (generation !== this.#current && generation !== this.#closing) await generation.settle()
  }

  async expire(steadyMs: number): Promise<void> {
    for (;;) {
      const [oldest] = this.#all
      if (!oldest || oldest.closedSteadyMs === undefined) return
      const tooOld = steadyMs - oldest.closedSteadyMs >= this.#options.ageMs
      const tooMany = this.count() - oldest.count >= this.#options.count - this.#countPerGeneration
      if (!tooOld && !tooMany) return
      this.#all = this.#all.slice(1)
      await oldest.drop()
    }
  }

  /** Once. Of generations that a stop left unsorted the one closed last is known as it came, so that nobody waits for its sorting (I9). */
  #read(): Promise<void> {
    return (this.#reading ??= this.#readAll())
  }

  async #readAll(): Promise<void> {
    const all = new Map(this.#all.map((generation) => [generation.number, generation]))
    for await (const chunk of this.#store.chunks(allFilters))
      for (const [key, value] of chunk) all.get(parseGenerationKey(key))?.useFilter(value)
    const unsettled = this.#all.filter(({ isSettled }) => !isSettled)
    for (const generation of unsettled.slice(0, -2)) await generation.settle()
    for (const generation of unsettled.slice(-2)) await generation.read()
  }
}
