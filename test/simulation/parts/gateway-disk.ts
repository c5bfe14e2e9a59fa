import { TidegateError } from '../../../src/errors.ts'
import type { Store, StoreFolder, StoreOperation } from '../../../edge/store/store.ts'
import type { Chance } from '../plan/chance.ts'
import type { Settings } from '../plan/settings.ts'
import { SimulatedDisk } from '../../support/fakes/simulated-disk.ts'
import type { Journal } from './journal.ts'
import type { SimulatedProcess } from './process.ts'
import type { Scheduler } from './scheduler.ts'
import type { Truth } from './truth.ts'

const reserveBytes = 40_000
const plentyBytes = 1e9

/** A slow disk takes a second for each request, and a commit may make two. */
const underWayMsMax = 3000

function isOfEvents(what: string): boolean {
  return what === 'disk entries'
}

interface GatewayDiskParts {
  scheduler: Scheduler
  journal: Journal
  random: Chance
  truth: Truth
  settings: Settings
}

/** The gateway's disk: each request takes its time, may fail, and may be the one at which the edge dies. */
export class GatewayDisk {
  /** Faults. */
  writesToLose = 0
  writesToLand = 0
  readsToFail = 0
  slow = false
  /** Since when writes fail for want of space; undefined: the last one did not. */
  private crampedSinceMs: number | undefined
  readonly disk: SimulatedDisk
  /** Requests that the folder given out last has not answered, but for reads of events: whoever took them gave them up. */
  private underWay = new Set<string>()
  private freeBytes = plentyBytes
  private powerCut = false
  private readonly parts: GatewayDiskParts

  constructor(parts: GatewayDiskParts) {
    this.parts = parts
    const { journal, random, truth } = parts
    this.disk = new SimulatedDisk({
      beforeWrite: (operations) => this.verdict(operations),
      beforeRead: (what) => {
        if (this.readsToFail === 0) return
        this.readsToFail -= 1
        journal.count('read-failed')
        journal.tell('disk', `${what} fails`)
        throw new TidegateError('STORE_UNAVAILABLE', { message: 'I/O error', retryable: true, hint: '' })
      },
      freeBytes: () => this.free,
      survivors: (unsynced) => {
        const kept = this.powerCut ? random.whole(0, unsynced) : unsynced
        if (kept < unsynced) journal.count('unsynced-lost', unsynced - kept)
        return kept
      },
      logFull: () => random.one(0.03),
      tablesWritten: () => random.one(0.2),
      landed: (operations, synced) => truth.landed(operations, synced),
      undone: (operations) => truth.undone(operations),
    })
  }

  fill(): void {
    this.freeBytes = this.disk.reserveHeld ? 0 : reserveBytes / 2
    this.crampedSinceMs = undefined
  }

  empty(): void {
    this.freeBytes = plentyBytes
  }

  /** Whoever has closed leaves nothing under way: it would land after the last word. */
  checkIdle(): void {
    if (this.underWay.size === 0) return
    this.parts.journal.violate('live', `closed, and under way are ${[...this.underWay].join(', ')}`)
  }

  heal(): void {
    this.writesToLose = 0
    this.writesToLand = 0
    this.readsToFail = 0
    this.slow = false
    this.empty()
  }

  crash(powerCut: boolean): void {
    this.powerCut = powerCut
    this.crampedSinceMs = undefined
    this.disk.crash({ machineStaysOn: !powerCut })
  }

  /** What was written last can no longer be read. */
  tearNewest(): void {
    this.parts.truth.torn(this.disk.tearNewest())
  }

  folderFor(process: SimulatedProcess): StoreFolder {
    const { disk } = this
    const underWay = (this.underWay = new Set<string>())
    let requests = 0
    const through = async <T>(what: string, work: () => Promise<T>): Promise<T> => {
      const request = `${what} (request ${++requests})`
      if (!isOfEvents(what)) underWay.add(request)
      await process.step(`before ${what}`, this.latencyMs(what))
      try {
        return await work()
      } finally {
        await process.step(`after ${what}`, this.lateMs(what))
        underWay.delete(request)
      }
    }
    const stepwise = async function* <T>(chunks: AsyncIterable<T>, what: string): AsyncGenerator<T, void> {
      for await (const chunk of chunks) {
        await process.step(what, 0)
        yield chunk
      }
    }
    const store = (inner: Store): Store => ({
      ...inner,
      get: (key) => through('disk get', () => inner.get(key)),
      hasMany: (keys) => through('disk hasMany', () => inner.hasMany(keys)),
      entries: (range, limit, bytesMax) =>
        through('disk entries', () => inner.entries(range, limit, bytesMax)),
      snapshot() {
        const snapshot = inner.snapshot()
        return {
          ...snapshot,
          chunks: (range) => stepwise(snapshot.chunks(range), 'disk entries'),
        }
      },
      chunks: (range) => stepwise(inner.chunks(range), 'disk entries'),
      write: (operations, options) => {
        const askedMs = this.parts.scheduler.nowMs
        return through('disk write', () => {
          this.parts.truth.writeAskedMs = askedMs
          return inner.write(operations, options)
        })
      },
      clear: (range) => through('disk clear', () => inner.clear(range)),
      noteAnswered: (word, options) => through('disk note', () => inner.noteAnswered(word, options)),
      close: () => through('disk close', () => inner.close()),
    })
    return {
      location: disk.location,
      open: () => through('disk open', async () => store(await disk.open())),
      repair: (why) => through('disk repair', () => disk.repair(why)),
      setAside: () => through('disk setAside', () => disk.setAside()),
      freeBytes: () => through('disk freeBytes', () => disk.freeBytes()),
      spendReserve: () => through('disk spendReserve', () => disk.spendReserve()),
      restoreReserve: () =>
        through('disk restoreReserve', async () => {
          if (this.freeBytes > reserveBytes) await disk.restoreReserve()
        }),
      writeMark: (mark) => through('disk writeMark', () => disk.writeMark(mark)),
      readMark: () => through('disk readMark', () => disk.readMark()),
      readAnswered: () => through('disk readAnswered', () => disk.readAnswered()),
      usedBytes: () => through('disk usedBytes', () => disk.usedBytes()),
    }
  }

  /** A write may take long, or fail. */
  get troubled(): boolean {
    return this.slow || this.writesToLose + this.writesToLand > 0 || this.freeBytes < plentyBytes
  }

  private get free(): number {
    return this.freeBytes >= plentyBytes || this.disk.reserveHeld
      ? this.freeBytes
      : this.freeBytes + reserveBytes
  }

  private latencyMs(what: string): number {
    const { random } = this.parts
    if (this.slow) return 1000
    if (what === 'disk write') return random.between(0.1, 10)
    return random.one(0.3) ? random.between(0, 3) : 0
  }

  /** LevelDB reads as of the beginning. */
  private lateMs(what: string): number {
    const { random, settings } = this.parts
    return settings.readsLate && what === 'disk entries' ? random.between(0, this.slow ? 2000 : 20) : 0
  }

  private verdict(operations: readonly StoreOperation[]): {
    fail: boolean
    landed: boolean
    forGood?: boolean
  } {
    const { journal, scheduler } = this.parts
    const forGood = this.parts.settings.failsForGood
    if (this.freeBytes < plentyBytes) {
      const bytes = operations.reduce(
        (sum, operation) =>
          sum + operation.key.length + (operation.type === 'put' ? operation.value.length : 0),
        0,
      )
      if (bytes > this.free) {
        journal.count('write-on-full-disk')
        journal.tell('disk', 'no space left: write fails')
        // Others may have been under way when the first one failed.
        this.crampedSinceMs ??= scheduler.nowMs
        if (scheduler.nowMs - this.crampedSinceMs > underWayMsMax && this.disk.reserveHeld) {
          journal.violate('live', 'a write fails for want of space again, and the reserve is still held back')
        }
        return { fail: true, landed: false, forGood }
      }
      this.freeBytes -= bytes
    }
    this.crampedSinceMs = undefined
    if (this.writesToLose > 0) {
      this.writesToLose -= 1
      journal.count('write-lost')
      journal.tell('disk', 'write fails, not landed')
      return { fail: true, landed: false, forGood }
    }
    if (this.writesToLand > 0) {
      this.writesToLand -= 1
      journal.count('write-landed')
      journal.tell('disk', 'write fails, and landed')
      return { fail: true, landed: true, forGood }
    }
    return { fail: false, landed: true }
  }
}
