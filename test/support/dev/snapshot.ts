import type { Snapshot } from '../../../dev/watch/snapshot.ts'

/** A run at a moment at which nothing has happened but `parts`. */
export function snapshot(elapsedMs: number, parts: Partial<Snapshot> = {}): Snapshot {
  return {
    elapsedMs,
    devices: 1,
    connected: 1,
    published: 0,
    acknowledged: 0,
    buffered: 0,
    forwarded: 0,
    leftBefore: 0,
    undelivered: 0,
    stored: 0,
    duplicates: 0,
    quarantined: 0,
    uplinkUp: true,
    link: { kind: 'up' },
    live: undefined,
    backlog: undefined,
    away: [],
    proof: undefined,
    ...parts,
  }
}
