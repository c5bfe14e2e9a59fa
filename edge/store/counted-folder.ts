import type { Clock } from '../../src/clock.ts'
import type { Store, StoreFolder, StoreOperation } from './store.ts'

/** Who is told of writes: bytes of keys and values, and how long it took if the write was synced. */
interface WriteObserver {
  wrote(bytes: number, syncMs: number | undefined): void
}

/** A folder that tells `observer` of every write of records and marks. The reserve, written once, is not counted. */
export function countedFolder(
  folder: StoreFolder,
  { clock, observer }: { clock: Clock; observer: WriteObserver },
): StoreFolder {
  return {
    location: folder.location,
    async open() {
      return countedStore(await folder.open(), clock, observer)
    },
    repair: (why) => folder.repair(why),
    setAside: () => folder.setAside(),
    freeBytes: () => folder.freeBytes(),
    spendReserve: () => folder.spendReserve(),
    restoreReserve: () => folder.restoreReserve(),
    async writeMark(mark) {
      await folder.writeMark(mark)
      observer.wrote(Buffer.byteLength(mark), undefined)
    },
    readMark: () => folder.readMark(),
    readAnswered: () => folder.readAnswered(),
    usedBytes: () => folder.usedBytes(),
  }
}

function countedStore(store: Store, clock: Clock, observer: WriteObserver): Store {
  return {
    get: (key) => store.get(key),
    entries: (range, limit, bytesMax) => store.entries(range, limit, bytesMax),
    chunks: (range) => store.chunks(range),
    hasMany: (keys) => store.hasMany(keys),
    snapshot: () => store.snapshot(),
    async write(operations, options) {
      const startedMs = clock.monotonicMs()
      await store.write(operations, options)
      observer.wrote(bytesOf(operations), options.sync ? clock.monotonicMs() - startedMs : undefined)
    },
    clear: (range) => store.clear(range),
    noteAnswered: (word, options) => store.noteAnswered(word, options),
    close: () => store.close(),
    torn: store.torn,
    repaired: store.repaired,
  }
}

function bytesOf(operations: readonly StoreOperation[]): number {
  let bytes = 0
  for (const operation of operations) {
    bytes += Buffer.byteLength(operation.key)
    if (operation.type === 'put') bytes += Buffer.byteLength(operation.value)
  }
  return bytes
}
