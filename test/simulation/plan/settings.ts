/** What the gateway is called, and its user of the broker. */
export const gatewayName = 'gw'

/** Part of the bounds that is every device's minimum. */
export const deviceMinimum = 0.1

/** How large a run's parts are, and how patient. */
export interface Settings {
  devices: string[]
  partitions: number
  windowEvents: number
  /** 1: every event leaves alone. */
  uplinkBatchEventsMax: number
  uplinkBatchBytesMax: number
  compress: boolean
  /** A store that failed to write writes nothing more until it is opened again. */
  failsForGood: boolean
  /** What was read of the disk often comes after a write that began later. */
  readsLate: boolean
  /** The broker takes no message of more events. */
  uplinkSizeMax: number
  confirmTimeoutMs: number
  batchEventsMax: number
  waitingMax: number
  /** What a device has to send leaves it together, and arrives as one read. */
  together: boolean
  eventsMax: number
  bytesMax: number
  deviceShare: number
  /** Part of both bounds that is for devices below their minimum. */
  reservedShare: number
  full: 'refuse' | 'evict'
  catchUp: 'live-first' | 'in-order'
  inOrderBelow: number
  eventsPerSecond: number | undefined
  dedupCount: number
  briefTtlMs: number
  reportIntervalMs: number
  clockSettleMs: number
  /** The gateway signs its ledger, after so many events; undefined: it has no key. */
  signsEvery: number | undefined
  cloudInstances: number
  cloudBatchMax: number
  cloudLanes: number
  prefetch: number
  ladderMs: number[]
  /** What may be parked in a group, and how many devices a runner tries at a time. */
  parking: { concurrency: number; devicesMax: number; eventsMax: number; eventsMaxPerDevice: number }
  /** Of the group with the handler that fails. */
  onFailure: 'park' | 'overtake'
  handlerTimeoutMs: number
  /** Devices whose readings are of version 2, which the edge knows from the start. */
  newer: readonly string[]
  /** The gateway has other schemas so often, and says so in its ledger, ms; undefined: it says nothing of them. */
  schemasEveryMs: number | undefined
  /** Nothing fails but what waits for version 2, and there is hardly any room to wait: it waits at the broker. */
  awaitsOnly: boolean
  /** From when on the cloud knows version 2, and its consumer asks for it, ms. */
  learnsAtMs: number
  /** Groups can be paused and trip, letters are replayed, and those of former versions drained. */
  workplace: boolean
  /** Longest wait of a message on a link or of a request to a disk or database, ms. */
  latencyMsMax: number
}

/** What a device sends. */
export type SendKind =
  | 'reading'
  | 'alarm'
  | 'brief'
  | 'repeat'
  | 'malformed'
  | 'violation'
  /** Its handler fails twice, then succeeds. */
  | 'stumbles'
  /** Its handler fails always. */
  | 'hopeless'
  /** Its handler hangs the first time. */
  | 'hangs'
  /** The edge lets it pass, the cloud's newer schema does not. */
  | 'disputed'
