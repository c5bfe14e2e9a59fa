import { ClassicLevel } from 'classic-level'
import type { AnsweredFile } from './answered-file.ts'
import type { Range, Repaired, Store, StoreOperation } from './store.ts'
import { failure } from './leveldb/errors.ts'

/** Of a chunk. What an iterator brought last it keeps until its JavaScript side is collected. */
const chunkEntries = 1000
const chunkBytes = 128 << 10
/** Read by one trip to LevelDB's thread; with its default of 16 KiB, reading 500 events takes twenty. */
const highWaterMarkBytes = 1 << 20

/** What the folder knows of the LevelDB that it opened, and wants to know. */
export interface Opened {
  torn: Store['torn']
  answered: AnsweredFile
  repaired: Repaired | undefined
  /** The first write after a repair has landed. */
  accountedFor(): Promise<void>
  closedInOrder(): Promise<void>
}

/** Tells an error of LevelDB's as one of ours. */
type Guard = <T>(work: Promise<T>) => Promise<T>

/** What abstract-level asks of every implementation; its types leave it out. */
interface Implementation {
  _batch(operations: StoreOperation[], options: { sync: boolean }): Promise<void>
}

/**
 * abstract-level's `batch` copies every operation, asks for hooks and translates encodings: more work than all of
 * ours for an event. Keys and values are UTF-8 strings already, which is what LevelDB's binding takes.
 */
export class DirectLevel extends ClassicLevel {
  async write(operations: StoreOperation[], options: { sync: boolean }): Promise<void> {
    // The binding trusts its caller that the database is open.
    if (this.status !== 'open') throw new Error('the database is not open')
    await (this as unknown as Implementation)._batch(operations, options)
  }
}

/** An open LevelDB as a store. */
export function levelStore(level: DirectLevel, location: string, opened: Opened): Store {
  let failed = false
  let unaccounted = opened.repaired !== undefined
  const guard: Guard = async (work) => {
    try {
      return await work
    } catch (cause) {
      failed = true
      throw failure(location, cause)
    }
  }
  return {
    torn: opened.torn,
    repaired: opened.repaired,
    get: (key) => guard(level.get(key)),
    hasMany: (keys) => guard(level.hasMany(keys)),
    entries: (range, limit, bytesMax) => guard(entriesOf(level, { ...range, limit }, bytesMax)),
    snapshot() {
      const snapshot = level.snapshot()
      return {
        get: (key) => guard(level.get(key, { snapshot })),
        entries: (range, limit, bytesMax) => guard(entriesOf(level, { ...range, limit, snapshot }, bytesMax)),
        chunks: ({ gte, lt }) =>
          inChunks(
            () => level.iterator({ gte, lt, snapshot, highWaterMarkBytes: chunkBytes }),
            chunkEntries,
            guard,
          ),
        close: () => snapshot.close(),
      }
    },
    chunks: ({ gte, lt }) =>
      inChunks(() => level.iterator({ gte, lt, highWaterMarkBytes: chunkBytes }), chunkEntries, guard),
    async write(operations, { sync }) {
      await guard(level.write(operations, { sync }))
      if (!unaccounted) return
      unaccounted = false
      await opened.accountedFor()
    },
    clear: ({ gte, lt }) => guard(level.clear({ gte, lt })),
    noteAnswered: (word, options) => guard(opened.answered.write(word, options)),
    async close() {
      try {
        await level.close()
      } finally {
        await opened.answered.close()
      }
      if (!failed) await opened.closedInOrder()
    },
  }
}

/** All of them; with `bytesMax` what one trip to LevelDB's thread brings, which is about so much. */
async function entriesOf(
  level: DirectLevel,
  options: Range & { limit: number; snapshot?: ReturnType<DirectLevel['snapshot']> },
  bytesMax: number | undefined,
): Promise<[string, string][]> {
  const iterator = level.iterator({ ...options, highWaterMarkBytes: bytesMax ?? highWaterMarkBytes })
  if (bytesMax === undefined) return await iterator.all()
  try {
    return await iterator.nextv(options.limit)
  } finally {
    await iterator.close()
  }
}

/**
 * One iterator for all of it: each keeps what it read last until its JavaScript side is collected, which says nothing
 * of how much that is. Reading a backlog with an iterator for every thousand entries kept all of it in memory.
 */
async function* inChunks<T>(
  begin: () => { nextv(size: number): Promise<T[]>; close(): Promise<void> },
  size: number,
  guard: Guard,
): AsyncIterable<T[]> {
  const iterator = begin()
  try {
    for (;;) {
      const chunk = await guard(iterator.nextv(size))
      if (chunk.length === 0) return
      yield chunk
    }
  } finally {
    await iterator.close()
  }
}
