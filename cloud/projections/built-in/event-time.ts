import type { Event } from '../../../src/contract/event.ts'

/** When something was measured, ms since the Unix epoch: by the device's clock, unless it was far off; then by the gateway's. */
export function eventTimeMs(event: Pick<Event, 'time' | 'timestatus' | 'recordedtime'>): number {
  return Date.parse(event.timestatus === 'implausible' ? event.recordedtime : event.time)
}
