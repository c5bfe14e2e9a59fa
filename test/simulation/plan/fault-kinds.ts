/** A fault at a moment of the plan. */
export interface Fault {
  /** Its place in the plan that the seed made. */
  n: number
  atMs: number
  kind: FaultKind
  /** How long it lasts; how far, for a clock. */
  forMs: number
  /** How often, or after how many waits it strikes; which one, for devices. */
  times: number
}

interface FaultSpec {
  /** What it is, in a few words. */
  what: string
  forMs?: readonly [min: number, max: number]
  times?: readonly [min: number, max: number]
}

const specs = {
  'edge-kill': { what: 'kill -9 of the edge at any wait', forMs: [100, 5000], times: [1, 60] },
  'power-cut': {
    what: 'power cut at any wait; unsynced writes lost',
    forMs: [1000, 3_600_000],
    times: [1, 60],
  },
  'log-torn': {
    what: 'kill -9 of the edge at any wait; what was written last can no longer be read',
    forMs: [100, 5000],
    times: [1, 60],
  },
  'edge-stop': { what: 'orderly stop and start of the edge', forMs: [100, 20_000] },
  'edge-freeze': { what: 'the edge stopped (SIGSTOP), then continued', forMs: [500, 40_000] },
  'write-lost': { what: 'a disk write fails and did not land', times: [1, 3] },
  'write-landed': { what: 'a disk write fails and landed all the same', times: [1, 3] },
  'read-failed': { what: 'a disk read fails', times: [1, 3] },
  'disk-full': { what: 'no space left on the disk', forMs: [1000, 60_000] },
  'disk-slow': { what: 'each disk request takes a second', forMs: [1000, 20_000] },
  'uplink-cut': { what: 'the uplink is cut', forMs: [100, 60_000] },
  'half-open': { what: 'the uplink swallows everything, silently', forMs: [1000, 60_000] },
  'confirm-lost': { what: 'publisher confirms that never come', times: [1, 5] },
  'confirm-late': { what: 'publisher confirms that come late', times: [1, 5], forMs: [1000, 40_000] },
  nack: { what: 'a publish refused by the broker (nack)', times: [1, 3] },
  unroutable: { what: 'the exchange without its queues', forMs: [500, 20_000] },
  'length-policy': {
    what: 'a policy lets every queue hold no more than a few',
    forMs: [500, 20_000],
    times: [0, 4],
  },
  blocked: { what: 'the broker blocks publishers (alarm)', forMs: [1000, 30_000] },
  'broker-restart': { what: 'the broker restarted', forMs: [500, 30_000] },
  'ack-lost': { what: 'acknowledgements lost: deliveries repeated', times: [1, 4] },
  'channel-cut': { what: 'a consumer channel cut', times: [0, 8] },
  'step-back': { what: 'a partition handed to the next instance', times: [0, 8] },
  'siding-lost': { what: 'a letter to a siding refused', times: [1, 3] },
  'siding-unknown': { what: 'a letter to a siding routed, its confirm lost', times: [1, 3] },
  'cloud-kill': { what: 'kill -9 of a cloud instance at any wait', forMs: [100, 20_000], times: [1, 60] },
  'cloud-stop': { what: 'orderly stop and start of a cloud instance', forMs: [100, 20_000] },
  'cloud-freeze': { what: 'a cloud instance stopped (SIGSTOP), then continued', forMs: [500, 40_000] },
  'database-outage': { what: 'the database down; open transactions lost', forMs: [200, 30_000] },
  'commit-lost': { what: 'a commit fails', times: [1, 3] },
  'commit-unknown': { what: 'a commit lands, its answer is lost', times: [1, 3] },
  'clock-forward': { what: 'the wall clock jumps forward', forMs: [1000, 31_536_000_000] },
  'clock-back': { what: 'the wall clock jumps back', forMs: [1000, 31_536_000_000] },
  'boot-1970': { what: 'power cut, then a boot in 1970 until NTP answers', forMs: [1000, 100_000] },
  forgery: {
    what: 'another gateway publishes in this one’s name, or in its own of a device that is connected here',
    times: [0, 3],
  },
  replay: { what: 'an operator replays the dead letters of a group' },
  'replay-stop': { what: 'an operator stops a replay' },
  mend: { what: 'what nobody could do can be done from now on' },
  pause: { what: 'an operator pauses a group, and resumes it', forMs: [500, 20_000] },
  'fleet-fails': { what: 'what a handler calls is down: it fails for all devices', forMs: [5000, 20_000] },
  'former-letter': { what: 'a former version writes dead letters into its queue', times: [1, 5] },
  'ack-swallowed': {
    what: 'what a former version wrote is taken, and its acknowledgements are lost until that is noticed',
    forMs: [4000, 20_000],
  },
  'device-drop': { what: 'a device loses its connection', forMs: [100, 20_000], times: [0, 4] },
} satisfies Record<string, FaultSpec>

export type FaultKind = keyof typeof specs

export const faultSpecs: Readonly<Record<FaultKind, FaultSpec>> = specs

/** What people do about failures: in runs that have a workplace alone. */
export const deedKinds: readonly FaultKind[] = [
  'replay',
  'replay-stop',
  'mend',
  'pause',
  'fleet-fails',
  'former-letter',
]

/**
 * Damage is not among them: hardly any run is to have it, because most checks are of runs in which nothing is damaged. Nor are
 * forgeries, nor acknowledgements that are swallowed: each run has its own.
 */
export const faultKinds = (Object.keys(specs) as FaultKind[]).filter(
  (kind) => !['log-torn', 'forgery', 'ack-swallowed', ...deedKinds].includes(kind),
)
