/** Sequence ranges, compact and bounded: past the limit only the counts go on (G7). */
export interface RangeList {
  ranges: [from: number, to: number][]
  /** Sequences in all ranges, unlisted ones included. */
  count: number
  /** Ranges that are counted and not listed. */
  unlisted: number
}

const rangesMax = 1000

export function emptyRanges(): RangeList {
  return { ranges: [], count: 0, unlisted: 0 }
}

/** Adds a range that begins after all that were added before; a neighbour grows. */
export function addRange(list: RangeList, from: number, to: number): void {
  list.count += to - from + 1
  const last = list.ranges.at(-1)
  if (last && last[1] === from - 1 && list.unlisted === 0) last[1] = to
  else if (list.ranges.length < rangesMax) list.ranges.push([from, to])
  else list.unlisted++
}

/** `1–7, 9, 12–40` */
export function formatRanges(list: RangeList, listedMax = 12): string {
  const listed = list.ranges
    .slice(0, listedMax)
    .map(([from, to]) => (from === to ? `${from}` : `${from}–${to}`))
  const more = list.ranges.length - listed.length + list.unlisted
  return listed.join(', ') + (more > 0 ? `, and ${more} more ranges` : '')
}

export function copyRanges({ ranges, count, unlisted }: RangeList): RangeList {
  return { ranges: ranges.map(([from, to]) => [from, to]), count, unlisted }
}
