import type { LedgerRange, Undelivered } from '../../../src/contract/event.ts'
import type { StoreOperation, StoreReader } from '../../store/store.ts'
import { allUndelivered, undeliveredKey } from '../layout/keys.ts'

/** Ranges in one ledger event: about 40 KB of JSON at the most. */
export const rangesPerReport = 500

/** A range of positions that will not be delivered and that the cloud has not been told of (G2, G8). */
export interface UndeliveredRange {
  from: number
  to: number
  reason: Undelivered
  epoch: string
  epochBase: number
  /** Chain value of `to`; absent when it was lost. */
  chain?: string
}

/** The ranges not yet reported, in memory and, in the same write as the deletion they record, on disk (I5). */
export interface UndeliveredLedger {
  /** Records one event, joining it to the range before it where the two touch. */
  note(range: UndeliveredRange, operations: StoreOperation[]): void
  /** Takes up to `rangesPerReport` ranges of one epoch out; the operations forget them. */
  take(operations: StoreOperation[]): { epoch: string; ranges: LedgerRange[] } | undefined
  readonly size: number
  all(): UndeliveredRange[]
}

export function createUndeliveredLedger(stored: UndeliveredRange[]): UndeliveredLedger {
  const ranges = new Map(stored.map((range) => [range.to, range]))

  return {
    note(range, operations) {
      const before = ranges.get(range.from - 1)
      let joined = range
      if (before && before.reason === range.reason && before.epoch === range.epoch) {
        ranges.delete(before.to)
        joined = { ...range, from: before.from }
      }
      ranges.set(joined.to, joined)
      operations.push({ type: 'put', key: undeliveredKey(joined.from), value: JSON.stringify(joined) })
    },
    take(operations) {
      const [oldest] = ranges.values()
      if (!oldest) return undefined
      const taken: UndeliveredRange[] = []
      for (const range of ranges.values()) {
        if (range.epoch !== oldest.epoch) continue
        taken.push(range)
        if (taken.length === rangesPerReport) break
      }
      for (const range of taken) {
        ranges.delete(range.to)
        operations.push({ type: 'del', key: undeliveredKey(range.from) })
      }
      return {
        epoch: oldest.epoch,
        ranges: taken
          .toSorted((a, b) => a.from - b.from)
          .map(({ from, to, reason, epochBase, chain }) => ({
            from: from - epochBase,
            to: to - epochBase,
            reason,
            ...(chain === undefined ? {} : { chain }),
          })),
      }
    },
    get size() {
      return ranges.size
    },
    all: () => [...ranges.values()],
  }
}

/** The ranges in a store, and how many of them cannot be read. */
export async function readUndelivered(
  store: StoreReader,
  max = 1_000_000,
): Promise<{ readable: UndeliveredRange[]; altered: number }> {
  const readable: UndeliveredRange[] = []
  const entries = await store.entries(allUndelivered, max)
  for (const [, value] of entries) {
    try {
      readable.push(JSON.parse(value) as UndeliveredRange)
    } catch {
      // Counted below; the recount names its positions again.
    }
  }
  return { readable, altered: entries.length - readable.length }
}
