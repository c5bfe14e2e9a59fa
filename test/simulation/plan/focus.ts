import type { Chance } from './chance.ts'
import type { FaultKind } from './fault-kinds.ts'
import type { SendKind, Settings } from './settings.ts'

/** A narrow place of the system: what a run is made of that stays there. */
export interface Focus {
  settings: Partial<Settings>
  sends: readonly [SendKind, number][]
  faults: readonly FaultKind[]
}

/**
 * Races that take several coincidences hardly ever happen in runs of everything. One run in eight stays where two of
 * the outbox's hardest paths meet: events that leave undelivered while others are being sent.
 */
export function pickFocus(random: Chance): Focus | undefined {
  return random.one(1 / 8) ? random.pick([crowded, fleeting])(random) : undefined
}

/** Hardly any room, and an uplink that comes and goes: eviction meets rewind. */
const crowded = (random: Chance): Focus => ({
  settings: {
    full: 'evict',
    eventsMax: random.whole(3, 8),
    bytesMax: 10_000_000,
    deviceShare: 1,
    windowEvents: random.pick([2, 4]),
    waitingMax: 1000,
    latencyMsMax: 200,
  },
  sends: [
    ['reading', 60],
    ['alarm', 20],
    ['brief', 10],
  ],
  faults: ['uplink-cut', 'disk-slow', 'confirm-late', 'confirm-lost', 'nack', 'broker-restart', 'edge-kill'],
})

/** A short time to live behind confirms that come late, and a disk that forgets: expiry meets delivery. */
const fleeting = (random: Chance): Focus => ({
  settings: {
    full: 'refuse',
    eventsMax: 100_000,
    bytesMax: 10_000_000,
    briefTtlMs: 2000,
    windowEvents: random.pick([1, 2, 4]),
    catchUp: random.pick(['in-order', 'live-first']),
    eventsPerSecond: undefined,
    latencyMsMax: random.pick([20, 200]),
  },
  sends: [
    ['brief', 60],
    ['reading', 40],
  ],
  faults: ['confirm-late', 'disk-slow', 'power-cut', 'write-lost', 'uplink-cut', 'edge-kill'],
})
