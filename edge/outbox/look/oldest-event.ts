import type { Lane } from '../outbox.ts'
import { creditOf, type Head } from '../layout/head.ts'
import type { StoredEvent } from '../layout/record.ts'
import { believableOffMs } from '../rules/steady-clock.ts'

/** The event that has waited longest. */
export interface OldestEvent {
  sequence: number
  deviceId: string
  lane: Lane
  type: string
  recordedAt: string
  ageMs: number
  /** It is that old at the least. */
  ageAtLeast: boolean
}

export function oldestOf(head: Head, event: StoredEvent, nowMs: number): OldestEvent {
  const { sequence, deviceId, lane, type, recordedAtMs } = event
  return {
    sequence,
    deviceId,
    lane,
    type,
    recordedAt: new Date(recordedAtMs).toISOString(),
    ...ageOf(head, event, nowMs),
  }
}

/**
 * Its age when the head was written, and the time since then, which only the wall clock knows. That one is not
 * believed where the steady clock would not believe it; and an event that came in while time spent off was still to be
 * believed came in after that time, of which the head's wall clock knows nothing yet.
 */
function ageOf(
  head: Head,
  { position, admittedSteadyMs }: StoredEvent,
  nowMs: number,
): Pick<OldestEvent, 'ageMs' | 'ageAtLeast'> {
  const thenMs = head.steadyMs - admittedSteadyMs - creditOf(head, position)
  const sinceMs = nowMs - head.wallMs
  const undated = head.undatedFrom !== null && position >= head.undatedFrom
  const ageAtLeast = undated || head.wallMs === 0 || sinceMs < 0 || sinceMs > believableOffMs
  return { ageMs: Math.max(0, ageAtLeast ? thenMs : thenMs + sinceMs), ageAtLeast }
}
