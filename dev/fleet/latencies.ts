export interface LatencySummary {
  count: number
  p50: number
  p99: number
  max: number
}

export interface Latencies {
  add(latencyMs: number): void
  summary(): LatencySummary
}

/** Each bucket's upper bound is 2 % above the last: percentiles are within 1 % in 1,200 numbers, however many values. */
const growth = 1.02
const lowestMs = 0.05

/** Percentiles in flat memory. Source: the idea of HdrHistogram (G. Tene), with plain logarithmic buckets. */
export function createLatencies(): Latencies {
  const buckets = new Uint32Array(1200)
  let count = 0
  let max = 0

  const bucketOf = (latencyMs: number): number =>
    Math.min(buckets.length - 1, Math.max(0, Math.ceil(Math.log(latencyMs / lowestMs) / Math.log(growth))))
  function percentile(share: number): number {
    if (count === 0) return 0
    let left = Math.ceil(share * count)
    const bucket = buckets.findIndex((size) => (left -= size) <= 0)
    return Math.min(max, lowestMs * growth ** (bucket - 0.5))
  }

  return {
    add(latencyMs) {
      count += 1
      max = Math.max(max, latencyMs)
      const bucket = bucketOf(Math.max(latencyMs, lowestMs))
      buckets[bucket] = (buckets[bucket] ?? 0) + 1
    },
    summary: () => ({ count, p50: round(percentile(0.5)), p99: round(percentile(0.99)), max: round(max) }),
  }
}

function round(ms: number): number {
  return ms < 10 ? Math.round(ms * 100) / 100 : Math.round(ms)
}
