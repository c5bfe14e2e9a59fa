import type { FaultRecord } from '../faults/saboteur.ts'
import type { Disturbance } from './history.ts'
import type { Snapshot } from './snapshot.ts'

/**
 * When events had to wait, as wall-clock spans: from a fault until what it held up has gone on. Events admitted
 * in such a span are backlog, all others live.
 */
export interface Disturbances {
  see(faults: readonly FaultRecord[], snapshot: Snapshot): void
  spans(): Disturbance[]
}

/** An event admitted just before a fault is held up by it as well. */
const beforeMs = 1000
/** Behind by less than this many seconds of work is the ordinary way, looked at once a second. */
const inStepSeconds = 2.5

export function createDisturbances(startedAtWallMs: number): Disturbances {
  const ends = new Map<number, number>()
  let faults: readonly FaultRecord[] = []
  let nowMs = 0
  return {
    see(records, snapshot) {
      faults = records
      nowMs = snapshot.elapsedMs
      faults.forEach((fault, index) => {
        const over = fault.untilMs < nowMs - 250
        if (over && !ends.has(index) && hasCaughtUp(fault, snapshot)) ends.set(index, nowMs)
      })
    },
    spans: () =>
      faults.map((fault, index) => ({
        fromMs: startedAtWallMs + fault.fromMs - beforeMs,
        untilMs: startedAtWallMs + (ends.get(index) ?? nowMs),
      })),
  }
}

/**
 * Behind the edge new events overtake the backlog, so they are live as soon as the session is there; what waits in
 * the broker or before the database holds up all that comes after it.
 */
function hasCaughtUp({ target }: FaultRecord, snapshot: Snapshot): boolean {
  if (target === 'edge' || target === 'uplink') return snapshot.uplinkUp
  const perSecond = (snapshot.published / Math.max(1, snapshot.elapsedMs)) * 1000
  return snapshot.acknowledged - snapshot.stored <= 20 + inStepSeconds * perSecond
}
