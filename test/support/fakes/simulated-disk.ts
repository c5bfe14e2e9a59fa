import { TidegateError } from '../../../src/errors.ts'
import type { Range, Store, StoreFolder, StoreOperation } from '../../../edge/store/store.ts'

export interface DiskFaults {
  /**
   * Called before each write; throw to make it fail. `landed` decides whether it took effect all the same; `forGood`:
   * the handle writes nothing any more, as LevelDB's does not after a sync that failed.
   */
  beforeWrite?(operations: StoreOperation[]): { fail: boolean; landed: boolean; forGood?: boolean }
  /** Awaited at every operation: lets a scheduler interleave, and a crash strike, anywhere. */
  pause?(what: string): Promise<void>
  /** Called before each read; throw to make it fail. */
  beforeRead?(what: string): void
  /** Awaited when something was read of the queue, which is as it was then. */
  afterRead?(): Promise<void>
  freeBytes?(): number
  /** How many of the unsynced writes of a log survive a crash. */
  survivors?(unsynced: number): number
  /** After each write: whether the log is full, so that another begins; and whether what full ones held is in tables now. */
  logFull?(): boolean
  tablesWritten?(): boolean
  /** Called with every write that took effect, and with the operations that undo it if a crash takes it back. */
  landed?(operations: StoreOperation[], synced: boolean): void
  undone?(operations: StoreOperation[]): void
}

/** A write that a crash may take back, or that stands behind one. */
interface Write {
  operations: readonly StoreOperation[]
  /** What its keys held before it. */
  before: ReadonlyMap<string, string | undefined>
  log: number
  synced: boolean
}

/**
 * A disk that behaves as the Store port allows at worst: unsynced writes may vanish in a crash, of each log the newest
 * first; a failed write may or may not have landed; a store handle is dead after a crash or a close. A sync is one of the log
 * of the moment: what the one before it held at its end may vanish although a later write is synced
 * (docs/FOUNDATIONS.md, L1), until it is in a table.
 */
export class SimulatedDisk implements StoreFolder {
  readonly location = 'disk'
  private entries = new SortedMap()
  private pending: Write[] = []
  private log = 0
  private generation = 0
  private isOpen = false
  private mark: string | undefined
  /** Words noted; after those that are synced come others that a power cut may take. */
  private answered: { words: string[]; newest: boolean } = { words: [], newest: false }
  private newestWrite: Write | undefined
  private torn: Store['torn']
  private repaired: Store['repaired']
  writes = 0
  bytesWritten = 0
  reserveSpent = 0
  reserveHeld = false
  setAsideCount = 0
  faults: DiskFaults

  constructor(faults: DiskFaults = {}) {
    this.faults = faults
  }

  /**
   * Power cut: open handles die; synced writes stay; of each log a prefix of the unsynced ones may stay, and of the words noted.
   * `machineStaysOn`: all of that stays.
   */
  crash({ machineStaysOn = false } = {}): void {
    this.generation += 1
    this.isOpen = false
    if (!machineStaysOn) {
      const { words } = this.answered
      const kept = this.faults.survivors?.(words.length - 1) ?? 0
      this.answered = { words: words.slice(0, Math.max(1, kept + 1)), newest: false }
    }
    const lost = new Set<Write>()
    for (const log of new Set(this.pending.map((write) => write.log))) {
      const unsynced = this.pending.filter((write) => write.log === log && !write.synced)
      const kept = machineStaysOn ? unsynced.length : (this.faults.survivors?.(unsynced.length) ?? 0)
      for (const write of unsynced.slice(kept)) lost.add(write)
    }
    const undo = this.undoOf(lost)
    for (const operation of undo) this.apply(operation)
    if (undo.length > 0) this.faults.undone?.(undo)
    this.pending = []
  }

  /** What makes the keys of lost writes hold what those that stay have left in them. */
  private undoOf(lost: ReadonlySet<Write>): StoreOperation[] {
    const values = new Map<string, string | undefined>()
    for (const write of this.pending) {
      for (const [key, value] of write.before) if (!values.has(key)) values.set(key, value)
      const kept = lost.has(write) ? [] : write.operations
      for (const operation of kept)
        values.set(operation.key, operation.type === 'put' ? operation.value : undefined)
    }
    const keys = new Set([...lost].flatMap(({ operations }) => operations.map(({ key }) => key)))
    return [...keys].map((key) => {
      const value = values.get(key)
      return value === undefined ? { type: 'del', key } : { type: 'put', key, value }
    })
  }

  /** Damage to the end of the log: the newest write can no longer be read, synced or not. Call it after a crash. */
  tearNewest(): StoreOperation[] {
    const write = this.newestWrite
    if (!write) return []
    const undo = [...write.before].map(([key, value]): StoreOperation =>
      value === undefined ? { type: 'del', key } : { type: 'put', key, value },
    )
    for (const operation of undo) this.apply(operation)
    this.newestWrite = undefined
    const [first] = write.operations
    this.torn = {
      operationsMax: write.operations.length,
      ...(first?.type === 'put' ? { firstValue: first.value } : {}),
    }
    return undo
  }

  /** Damage: removes what a bit flip would. */
  damage(keys: (key: string) => boolean): number {
    const hit = this.entries.keysIn('', '\uffff').filter((key) => keys(key))
    for (const key of hit) this.entries.delete(key)
    return hit.length
  }

  /** Damage: what is read is not what was written. */
  alter(key: string): void {
    this.entries.set(key, 'altered')
  }

  /** Damage: another value stands there. */
  put(key: string, value: string): void {
    this.entries.set(key, value)
  }

  get size(): number {
    return this.entries.size
  }

  get(key: string): string | undefined {
    return this.entries.get(key)
  }

  keysStartingWith(prefix: string): string[] {
    return this.entries.keysIn(prefix, `${prefix}~`)
  }

  async open(): Promise<Store> {
    await this.faults.pause?.('open')
    if (this.isOpen) {
      throw new TidegateError('OUTBOX_LOCKED', { message: 'open elsewhere', retryable: false, hint: '' })
    }
    this.isOpen = true
    // LevelDB reads each log that it finds into a synced table when it opens (RecoverLogFile in its db_impl.cc). Of the newest that is not relied on.
    this.makeDurable((write) => write.log < this.log)
    return this.handle(++this.generation)
  }

  async repair(why: string): Promise<void> {
    this.repaired = { why, blind: true }
  }

  async setAside(): Promise<string> {
    this.entries = new SortedMap()
    this.torn = undefined
    this.repaired = undefined
    this.setAsideCount += 1
    return 'aside'
  }

  async freeBytes(): Promise<number> {
    return this.faults.freeBytes?.() ?? 1e12
  }

  async spendReserve(): Promise<void> {
    this.reserveSpent += 1
    this.reserveHeld = false
  }

  async restoreReserve(): Promise<void> {
    this.reserveHeld = true
  }

  async writeMark(mark: string): Promise<void> {
    this.mark = mark
  }

  async readMark(): Promise<string | undefined> {
    return this.mark
  }

  async readAnswered(): Promise<{ word: string; newest: boolean } | undefined> {
    const word = this.answered.words.at(-1)
    return word === undefined ? undefined : { word, newest: this.answered.newest }
  }

  async usedBytes(): Promise<number> {
    return this.bytesWritten
  }

  private handle(generation: number): Store {
    const use = async (what: string): Promise<void> => {
      const check = (): void => {
        if (generation === this.generation) return
        throw new TidegateError('STORE_UNAVAILABLE', {
          message: 'the handle is dead',
          retryable: true,
          hint: '',
        })
      }
      check()
      await this.faults.pause?.(what)
      check()
    }
    async function* keysOf(
      entries: SortedMap,
      { gte, lt }: Range,
      what = 'keys',
    ): AsyncGenerator<string[], void> {
      await use(what)
      const keys = entries.keysIn(gte, lt)
      for (let at = 0; at < keys.length; at += 100) {
        await use(what)
        yield keys.slice(at, at + 100)
      }
    }
    async function* chunksOf(
      entries: SortedMap,
      range: Range,
      what = 'keys',
    ): AsyncGenerator<[string, string][], void> {
      const frozen = entries.copy()
      for await (const keys of keysOf(frozen, range, what))
        yield keys.map((key): [string, string] => [key, frozen.get(key) as string])
    }
    /** LevelDB reads as of the beginning, and what it read may come after a write that began later. */
    const late = async <T>(found: T): Promise<T> => {
      await this.faults.afterRead?.()
      await use('read')
      return found
    }
    // oxlint-disable-next-line typescript/no-this-alias -- the handle's methods have a `this` of their own
    const disk = this
    let writesNoMore = false
    return {
      torn: this.torn,
      repaired: this.repaired,
      async get(key) {
        await use('get')
        disk.faults.beforeRead?.('get')
        return late(disk.entries.get(key))
      },
      async hasMany(keys) {
        await use('hasMany')
        disk.faults.beforeRead?.('hasMany')
        return late(keys.map((key) => disk.entries.get(key) !== undefined))
      },
      async entries(range, limit, bytesMax) {
        await use('entries')
        disk.faults.beforeRead?.('entries')
        return late(entriesIn(disk.entries, range, limit, bytesMax))
      },
      snapshot() {
        const frozen = disk.entries.copy()
        return {
          get: async (key) => frozen.get(key),
          entries: async (range, limit, bytesMax) => entriesIn(frozen, range, limit, bytesMax),
          chunks: (range) => chunksOf(frozen, range, 'snapshot keys'),
          close: async () => {},
        }
      },
      chunks: (range) => {
        disk.faults.beforeRead?.('entries')
        return chunksOf(disk.entries, range)
      },
      async write(operations, { sync }) {
        await use('write')
        const verdict = writesNoMore
          ? { fail: true, landed: false }
          : (disk.faults.beforeWrite?.(operations) ?? { fail: false, landed: true })
        if (verdict.forGood) writesNoMore = true
        if (verdict.landed) disk.commit(operations, sync && !verdict.fail)
        if (verdict.fail) {
          throw new TidegateError('STORE_UNAVAILABLE', {
            message: 'no space left',
            retryable: true,
            hint: '',
          })
        }
        await use('written')
      },
      async clear({ gte, lt }) {
        await use('clear')
        // Not atomic, not synced: a crash may bring any part of it back.
        for (const key of disk.entries.keysIn(gte, lt)) {
          await use('clear')
          disk.commit([{ type: 'del', key }], false)
        }
      },
      async noteAnswered(word, { sync }) {
        await use('note')
        const words = sync ? [] : disk.answered.words
        disk.answered = { words: [...words.slice(-8), word], newest: true }
      },
      async close() {
        if (generation !== disk.generation) return
        disk.isOpen = false
        disk.generation += 1
      },
    }
  }

  private commit(operations: StoreOperation[], sync: boolean): void {
    this.writes += 1
    const before = new Map<string, string | undefined>()
    for (const operation of operations) {
      const { key } = operation
      if (!before.has(key)) before.set(key, this.entries.get(key))
      this.apply(operation)
      this.bytesWritten += key.length + (operation.type === 'put' ? operation.value.length : 0)
    }
    this.newestWrite = { operations, before, log: this.log, synced: false }
    this.torn = undefined
    this.repaired = undefined
    this.pending.push(this.newestWrite)
    if (sync) this.makeDurable((write) => write.log === this.log)
    if (this.faults.logFull?.()) this.log += 1
    if (this.faults.tablesWritten?.()) this.makeDurable((write) => write.log < this.log)
    this.faults.landed?.(operations, sync)
  }

  private makeDurable(which: (write: Write) => boolean): void {
    for (const write of this.pending) if (which(write)) write.synced = true
    const first = this.pending.findIndex((write) => !write.synced)
    this.pending = first === -1 ? [] : this.pending.slice(first)
  }

  private apply(operation: StoreOperation): void {
    // LevelDB's binding never frees the copy it makes of an empty value.
    if (operation.type === 'put' && operation.value === '')
      throw new Error(`${operation.key} has an empty value`)
    if (operation.type === 'put') this.entries.set(operation.key, operation.value)
    else this.entries.delete(operation.key)
  }
}

/** As many as asked for, and no more of them once they are so long. */
function entriesIn(
  entries: SortedMap,
  { gte, lt }: Range,
  limit: number,
  bytesMax = Infinity,
): [string, string][] {
  const found: [string, string][] = []
  let bytes = 0
  for (const key of entries.keysIn(gte, lt, limit)) {
    const value = entries.get(key) as string
    found.push([key, value])
    bytes += key.length + value.length
    if (bytes >= bytesMax) break
  }
  return found
}

/** A map and its keys in order. */
class SortedMap {
  private readonly values = new Map<string, string>()
  private readonly sorted: string[] = []

  get size(): number {
    return this.values.size
  }

  copy(): SortedMap {
    const copy = new SortedMap()
    for (const [key, value] of this.values) copy.set(key, value)
    return copy
  }

  get(key: string): string | undefined {
    return this.values.get(key)
  }

  set(key: string, value: string): void {
    if (!this.values.has(key)) this.sorted.splice(lowerBound(this.sorted, key), 0, key)
    this.values.set(key, value)
  }

  delete(key: string): void {
    if (this.values.delete(key)) this.sorted.splice(lowerBound(this.sorted, key), 1)
  }

  keysIn(gte: string, lt: string, limit = Infinity): string[] {
    const keys: string[] = []
    for (let at = lowerBound(this.sorted, gte); at < this.sorted.length && keys.length < limit; at++) {
      const key = this.sorted[at] as string
      if (key >= lt) break
      keys.push(key)
    }
    return keys
  }
}

function lowerBound(keys: string[], wanted: string): number {
  let low = 0
  let high = keys.length
  while (low < high) {
    const middle = (low + high) >>> 1
    if ((keys[middle] as string) < wanted) low = middle + 1
    else high = middle
  }
  return low
}
