import type { Store, StoreOperation } from '../../store/store.ts'
import {
  filterKey,
  generationKey,
  rememberedKey,
  rememberedRange,
  sortedKey,
  sortedRange,
} from '../layout/keys.ts'
import { Bloom } from './bloom.ts'
import { IdSet } from './id-set.ts'

/** Hexadecimal digits of a hash. */
export const hashLength = 32
/** Hashes in a sorted block: a question that the filter cannot answer reads 8 KB. */
const hashesPerBlock = 256
/** Room is made for so many IDs before they are read, 32 MiB, and an altered count takes no more. */
const expectedMax = 1_000_000
/** Sorted blocks that are written at once. */
const blocksPerWrite = 64

/** What stands on the disk of a generation that is closed. */
export interface Closed {
  count: number
  closedSteadyMs: number
  /** Its IDs are in sorted blocks. */
  sorted?: true
}

/** An altered entry costs the truth about one generation's age, never the start. */
export function parseClosed(value: string): Closed {
  try {
    return JSON.parse(value) as Closed
  } catch {
    return { count: 0, closedSteadyMs: 0 }
  }
}

/**
 * IDs that were remembered one after the other: exact in memory until they are sorted; from then on in sorted blocks, each under the last hash
 * that is in it, with a filter before them.
 */
export class Generation {
  readonly number: number
  /** Steady clock when it was closed, ms; undefined: current. */
  closedSteadyMs: number | undefined
  readonly #store: Store
  #count = 0
  #ids: IdSet | undefined
  #filter: Bloom | undefined
  /** Its IDs are in sorted blocks. */
  #sorted = false
  /** Under which IDs were remembered last. */
  #lastName = -1

  private constructor(store: Store, number: number) {
    this.#store = store
    this.number = number
  }

  static fresh(store: Store, number: number): Generation {
    const generation = new Generation(store, number)
    generation.#ids = new IdSet()
    return generation
  }

  /** As it stands on the disk; `read` it, or its filter, before it is asked. */
  static found(
    store: Store,
    number: number,
    { count, closedSteadyMs, sorted }: Pick<Closed, 'count'> & Partial<Closed>,
  ): Generation {
    const generation = new Generation(store, number)
    generation.#count = count
    generation.closedSteadyMs = closedSteadyMs
    generation.#sorted = sorted === true
    return generation
  }

  /** false: its IDs must be in memory to be known. */
  get isSettled(): boolean {
    return this.#filter !== undefined
  }

  get count(): number {
    return this.#ids?.size ?? this.#count
  }

  /** Whether it is remembered, as far as memory knows. */
  knows(hash: string): boolean {
    return this.#ids?.has(hash) ?? false
  }

  /** Whether only the disk knows. */
  mayHave(hash: string): boolean {
    return this.#filter?.mayHave(hash) ?? false
  }

  async lookUp(hash: string): Promise<boolean> {
    const [block] = await this.#store.entries(sortedRange(this.number, hash), 1)
    if (!block) return false
    return has(block[1], hash)
  }

  /** Under which the IDs of a write behind `position` are kept. After damage positions may be given again, and no ID goes for it. */
  keyBehind(position: number): string {
    this.#lastName = Math.max(position, this.#lastName + 1)
    return rememberedKey(this.number, this.#lastName)
  }

  add(hashes: readonly string[]): void {
    for (const hash of hashes) this.#ids?.add(hash)
  }

  close(steadyMs: number): Closed {
    this.closedSteadyMs = steadyMs
    return { count: this.count, closedSteadyMs: steadyMs }
  }

  /** Its filter, which is all that memory needs of one that is sorted. */
  useFilter(value: string): void {
    if (this.#sorted) this.#filter = Bloom.decode(value)
  }

  /** All its IDs. */
  async read(): Promise<void> {
    const ids = new IdSet(Math.min(this.#count, expectedMax))
    for await (const chunk of this.#store.chunks(rememberedRange(this.number))) {
      for (const [key, value] of chunk) {
        const name = key.slice(key.lastIndexOf('!') + 1)
        if (name.length === 16) this.#lastName = Number(name)
        ids.addAll(hashesOf(name, value))
      }
    }
    // Of those a filter that was altered is made again.
    for await (const chunk of this.#store.chunks(sortedRange(this.number))) {
      for (const [, value] of chunk) ids.addAll(value)
    }
    this.#ids = ids
  }

  /** Closed: sorts what is not sorted, and makes its filter if that is not there. */
  async settle(): Promise<void> {
    if (this.#filter) return
    if (!this.#ids) await this.read()
    const ids = this.#ids as IdSet
    this.#filter = this.#sorted ? await this.#writeFilter(ids) : await this.#writeSorted(ids)
    this.#sorted = true
    this.#count = this.count
    this.#ids = undefined
  }

  /** Its ranges first, its entry last: a crash in between leaves an entry that is dropped again. */
  async drop(): Promise<void> {
    const store = this.#store
    await store.clear(rememberedRange(this.number))
    await store.clear(sortedRange(this.number))
    await store.write(
      [
        { type: 'del', key: filterKey(this.number) },
        { type: 'del', key: generationKey(this.number) },
      ],
      { sync: false },
    )
  }

  async #writeFilter(ids: IdSet): Promise<Bloom> {
    const filter = Bloom.for(ids.size)
    for (const hash of ids.sorted()) filter.add(hash)
    await this.#store.write([{ type: 'put', key: filterKey(this.number), value: filter.encode() }], {
      sync: true,
    })
    return filter
  }

  /**
   * Each write is synced. LevelDB syncs one log at a time, so that a power cut could else keep the deletion of the unsorted records, in
   * a newer log, and lose the end of what was sorted, in the one before.
   */
  async #writeSorted(ids: IdSet): Promise<Bloom> {
    const store = this.#store
    const filter = Bloom.for(ids.size)
    let operations: StoreOperation[] = []
    for (const hashes of inBlocks(ids.sorted())) {
      for (const hash of hashes) filter.add(hash)
      operations.push({
        type: 'put',
        key: sortedKey(this.number, hashes.at(-1) as string),
        value: hashes.join(''),
      })
      if (operations.length < blocksPerWrite) continue
      await store.write(operations, { sync: true })
      operations = []
    }
    const entry: Closed = { count: ids.size, closedSteadyMs: this.closedSteadyMs ?? 0, sorted: true }
    operations.push(
      { type: 'put', key: filterKey(this.number), value: filter.encode() },
      { type: 'put', key: generationKey(this.number), value: JSON.stringify(entry) },
    )
    await store.write(operations, { sync: true })
    await store.clear(rememberedRange(this.number))
    return filter
  }
}

function* inBlocks(hashes: Iterable<string>): Generator<string[]> {
  let block: string[] = []
  for (const hash of hashes) {
    block.push(hash)
    if (block.length < hashesPerBlock) continue
    yield block
    block = []
  }
  if (block.length > 0) yield block
}

/** Of one record as they came; of the layout before blocks each has a record of its own, whose key it is. */
function hashesOf(name: string, value: string): string {
  return name.length === 16 ? value : Buffer.from(name, 'base64url').toString('hex', 0, hashLength / 2)
}

/** Whether a record of `d!` or `s!` has a hash in it. */
export function holdsHash([key, value]: readonly [key: string, value: string], hash: string): boolean {
  return has(key.startsWith('d!') ? hashesOf(key.slice(key.lastIndexOf('!') + 1), value) : value, hash)
}

function has(block: string, hash: string): boolean {
  for (let at = block.indexOf(hash); at >= 0; at = block.indexOf(hash, at + 1))
    if (at % hashLength === 0) return true
  return false
}
