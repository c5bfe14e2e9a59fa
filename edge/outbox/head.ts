import type { Lane } from '../outbox.ts'

/** The layout this code writes. A folder with a higher number is set aside, never guessed at. */
export const storeVersion = 1

/**
 * The head record: everything a restart needs, so that opening takes the same time at any backlog. Written in
 * the same atomic write as whatever it counts (invariant I2).
 */
export interface Head {
  version: number
  gateway: string
  epoch: string
  /** Position before the epoch's first event: sequence = position - epochBase. */
  epochBase: number
  /** Last position given out. */
  position: number
  /** Chain value of the epoch's last event. */
  chain: string
  depth: Record<Lane, number>
  bytes: Record<Lane, number>
  /** No queued event of the lane lies before this position: where to seek, past old tombstones. */
  first: Record<Lane, number>
  generation: { number: number; count: number; openedSteadyMs: number }
  steadyMs: number
  wallMs: number
  /** Written by an orderly close, taken back by the first write after opening. */
  clean: boolean
}

export function sequenceOf(head: Head, position: number): number {
  return position - head.epochBase
}
