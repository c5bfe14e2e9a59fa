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
 * the outbox's hardest paths meet: events that leave undelivered while others are being sent. One in ten of the others
 * stays where nobody knows what the disk holds.
 */
export function pickFocus(random: Chance): Focus | undefined {
  if (random.one(1 / 8)) return random.pick([crowded, fleeting])(random)
  return random.one(1 / 10) ? random.pick([doubtful, vanishing])(random) : undefined
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

/** Writes of unknown outcome, and a gateway that is stopped or killed before it could look again. */
const doubtful = (random: Chance): Focus => ({
  settings: { latencyMsMax: random.pick([20, 200]), batchEventsMax: random.pick([3, 10]) },
  sends: [
    ['reading', 60],
    ['alarm', 10],
    ['repeat', 10],
  ],
  faults: ['write-landed', 'write-lost', 'read-failed', 'disk-slow', 'edge-stop', 'edge-kill', 'device-drop'],
})

/** A short time to live, a slow disk whose writes fail, and an uplink that returns: what is past its time comes back. */
const vanishing = (random: Chance): Focus => ({
  settings: {
    devices: ['d0', 'd1'].slice(0, random.whole(1, 2)),
    full: 'refuse',
    eventsMax: 100_000,
    bytesMax: 10_000_000,
    briefTtlMs: 2000,
    catchUp: random.pick(['in-order', 'live-first']),
    eventsPerSecond: undefined,
  },
  sends: [
    ['brief', 60],
    ['reading', 40],
  ],
  faults: ['disk-slow', 'write-lost', 'write-lost', 'uplink-cut', 'uplink-cut'],
})

/**
 * One run in twelve of those that stay nowhere else: devices of a version that the cloud learns of late, and hardly any room to wait.
 * From a stream of its own, so that other seeds are as they were.
 */
export function pickAwaiting(random: Chance): Focus | undefined {
  if (!random.one(1 / 12)) return undefined
  const devices = ['d0', 'd1', 'd2', 'd3'].slice(0, random.whole(2, 4))
  return {
    settings: {
      devices,
      newer: devices.slice(0, random.whole(1, devices.length)),
      learnsAtMs: random.whole(20_000, 50_000),
      awaitsOnly: true,
      eventsMax: 100_000,
      bytesMax: 10_000_000,
      parking: {
        concurrency: random.whole(1, 3),
        devicesMax: random.whole(1, 2),
        eventsMax: random.whole(1, 4),
        eventsMaxPerDevice: 1000,
      },
      onFailure: 'park',
      workplace: false,
      cloudInstances: 1,
      handlerTimeoutMs: 10_000,
      latencyMsMax: random.pick([2, 20]),
    },
    sends: [
      ['reading', 85],
      ['repeat', 15],
    ],
    faults: [
      'uplink-cut',
      'broker-restart',
      'ack-lost',
      'channel-cut',
      'cloud-kill',
      'cloud-stop',
      'database-outage',
      'commit-lost',
      'commit-unknown',
    ],
  }
}
