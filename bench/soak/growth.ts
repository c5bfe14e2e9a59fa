import { slopeOf } from '../run/statistics.ts'

/** What is seen of a program from outside, at one moment; undefined where it does not answer. */
export interface Reading {
  /** Since the soak began. */
  atMs: number
  memoryMiB: number
  handles: number
  /** Bytes that it has caused to be written to disk since it was started. */
  diskBytes: number
  eventLoopP99Ms: number | undefined
  /** Events queued, where it has a queue. */
  queued: number | undefined
}

/** Growth over the last two thirds of some readings, an hour's worth: memory in MiB, handles. */
export function growthOf(readings: readonly Reading[]): { memoryMiBPerHour: number; handlesPerHour: number } {
  const late = readings.slice(Math.floor(readings.length / 3))
  const hours = (value: (reading: Reading) => number): number =>
    slopeOf(late.map((reading) => [reading.atMs / 3_600_000, value(reading)] as const))
  return {
    memoryMiBPerHour: hours(({ memoryMiB }) => memoryMiB),
    handlesPerHour: hours(({ handles }) => handles),
  }
}
