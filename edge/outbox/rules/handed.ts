import type { StoredEvent } from '../layout/record.ts'

/**
 * Events outside the store's own keeping: handed to the forwarder, or proven and about to be deleted. Survives
 * a reload of the state, because the forwarder goes on.
 */
export interface Handed {
  readonly inFlight: Map<number, StoredEvent>
  readonly releasing: Map<number, StoredEvent>
  /** Whether an event is out of reach of expiry and eviction. */
  busy(position: number): boolean
}

export function createHanded(): Handed {
  const inFlight = new Map<number, StoredEvent>()
  const releasing = new Map<number, StoredEvent>()
  return {
    inFlight,
    releasing,
    busy: (position) => inFlight.has(position) || releasing.has(position),
  }
}
