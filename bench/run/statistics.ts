/** The middle of some values, and the range they lie in. */
export interface Spread {
  median: number
  min: number
  max: number
}

/** The middle value, or the mean of the two in the middle. NaN of none. */
export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b)
  const half = Math.floor(sorted.length / 2)
  const upper = sorted[half] ?? Number.NaN
  return sorted.length % 2 === 1 ? upper : (upper + (sorted[half - 1] ?? Number.NaN)) / 2
}

/** Undefined of no values. */
export function spreadOf(values: readonly number[]): Spread | undefined {
  if (values.length === 0) return undefined
  return { median: median(values), min: Math.min(...values), max: Math.max(...values) }
}

/**
 * The ratio of two subjects, round by round: what hit the machine in a round hit both. A reference that was measured once stands in every
 * round. Undefined if either has no values, or a reference is 0.
 */
export function ratioOf(values: readonly number[], reference: readonly number[]): Spread | undefined {
  const rounds = Math.min(values.length, reference.length === 1 ? values.length : reference.length)
  const ratios = Array.from(
    { length: rounds },
    (_, round) =>
      (values[round] ?? Number.NaN) / (reference[reference.length === 1 ? 0 : round] ?? Number.NaN),
  )
  return ratios.every(Number.isFinite) ? spreadOf(ratios) : undefined
}

/** How much y grows with x, by least squares; NaN of fewer than two x. */
export function slopeOf(points: readonly (readonly [x: number, y: number])[]): number {
  const meanX = points.reduce((sum, [x]) => sum + x, 0) / points.length
  const meanY = points.reduce((sum, [, y]) => sum + y, 0) / points.length
  const across = points.reduce((sum, [x]) => sum + (x - meanX) ** 2, 0)
  return points.reduce((sum, [x, y]) => sum + (x - meanX) * (y - meanY), 0) / across
}

/** The smallest value that so large a share of all does not exceed (nearest rank). NaN of none. */
export function percentile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b)
  return sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)] ?? Number.NaN
}
