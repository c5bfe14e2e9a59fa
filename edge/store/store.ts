/**
 * What the outbox needs of a disk: an ordered key-value store with atomic, optionally synced writes. Port;
 * LevelDB's adapter is store-level.ts (the folder) and opened-level.ts (the store in it), the simulation has one that crashes.
 *
 * Keys and values are UTF-8 text; keys sort by bytes.
 */
export interface Store extends StoreReader {
  hasMany(keys: string[]): Promise<boolean[]>
  /** The store as it is now, whatever is written from here on. Close it: it keeps what was deleted since. */
  snapshot(): StoreReader & { close(): Promise<void> }
  /**
   * All or nothing. `sync: true` resolves only once the operating system has confirmed the write to the disk.
   * After a failure it is unknown whether the write landed: open the folder again and read.
   */
  write(operations: StoreOperation[], options: { sync: boolean }): Promise<void>
  /** Deletes `[gte, lt)`; not atomic. */
  clear(range: Range): Promise<void>
  /**
   * Keeps a word beside the store, in place of the one before: what somebody is about to be told. The word is in the operating
   * system's hands when this resolves, so that it outlives the process; without `sync` a power cut may bring an older one back.
   * Words must all be of one length.
   * @throws TidegateError `STORE_UNAVAILABLE`
   */
  noteAnswered(word: string, options: { sync: boolean }): Promise<void>
  close(): Promise<void>
  /**
   * The newest write was found cut short: how many operations it may have held (null: nobody can tell), and what its first
   * operation put, if that can be read and whether or not that is what was written. After a power cut that is normal, and nobody
   * was told of that write; on a disk that lies about having synced, or was damaged since, somebody may have been.
   */
  readonly torn?: { operationsMax: number | null; firstValue?: string } | undefined
  /** It was repaired, for this reason, and nothing was written since: what it holds is not accounted for yet. */
  readonly repaired?: Repaired | undefined
}

export interface Repaired {
  why: string
  /** What was written last could not be read even before: it is not known how much that was. */
  blind: boolean
}

/** Reading, and nothing else. */
export interface StoreReader {
  get(key: string): Promise<string | undefined>
  /** Entries of `[gte, lt)` in key order, at most `limit`, and no more of them once they are about `bytesMax` long together. */
  entries(range: Range, limit: number, bytesMax?: number): Promise<[key: string, value: string][]>
  /** All entries of `[gte, lt)` in key order, in chunks, as they were when this was begun; in flat memory. */
  chunks(range: Range): AsyncIterable<[key: string, value: string][]>
}

export interface Range {
  gte: string
  lt: string
}

export type StoreOperation = { type: 'put'; key: string; value: string } | { type: 'del'; key: string }

/** The place on disk that holds a store. */
export interface StoreFolder {
  /** Where it is, for who reads an error. */
  readonly location: string
  /**
   * @throws TidegateError `OUTBOX_LOCKED` (another process has it), `STORE_CORRUPT`, `STORE_UNAVAILABLE`
   *   (retryable: disk full, I/O error), `DATA_FOLDER_UNWRITABLE`.
   */
  open(): Promise<Store>
  /**
   * Best effort on a closed store: keeps what can be read, and what cannot be read aside. `why` is what the
   * store says as `repaired`, also after a crash, until something is written to it.
   * @throws TidegateError `OUTBOX_LOCKED`, `STORE_UNAVAILABLE` (no room to repair), `STORE_CORRUPT` (beyond it)
   */
  repair(why: string): Promise<void>
  /** Moves a store that cannot be used out of the way, whole; returns where it is now. */
  setAside(): Promise<string>
  /** Free bytes on the disk beyond the space that is, or has to be, held back. */
  freeBytes(): Promise<number>
  /** Gives up the space held back, so that releases and ledger entries can be written on a full disk. */
  spendReserve(): Promise<void>
  /** Holds the space back (again). Does nothing when it is there or does not fit. */
  restoreReserve(): Promise<void>
  /**
   * A word kept beside the store, unsynced: what the store should at least hold. If it holds less, its newest
   * writes were lost to damage that it did not notice itself.
   */
  writeMark(mark: string): Promise<void>
  readMark(): Promise<string | undefined>
  /** The word that a store noted last. `newest`: the machine has been on since, so no later one was lost. */
  readAnswered(): Promise<{ word: string; newest: boolean } | undefined>
  /** Bytes the store occupies on disk. */
  usedBytes(): Promise<number>
}
