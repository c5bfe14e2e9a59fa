/** What identifies an event, for ever. */
export interface Identity {
  source: string
  id: string
}

/** A dead letter that holds an event's text. */
export interface LetterPlace extends Identity {
  letter: number
  group: string
  state: 'open' | 'replaying' | 'resolved' | 'discarded'
}

/** How many events, and the percentiles of their way into the history, ms. */
export interface LatencyRow {
  count: number
  p50: number
  p99: number
}

/** What the history holds of a device of this run. */
export interface DeviceRows {
  accepted: number
  rejected: number
  dead: number
  implausible: number
  /** Reasons of rejected and dead rows, with how often. */
  reasons: Record<string, number>
}

/** Wall-clock spans, ms since the Unix epoch, in which something was taken away. */
export interface Disturbance {
  fromMs: number
  untilMs: number
}

/** What identifies the events of a run in a database that may hold other runs as well. */
export interface RunFilter {
  /** Devices of the fleet. */
  deviceIds: readonly string[]
  /**
   * Wall clock at the start, ms; what the outbox still held from an earlier run was recorded before. Not so what was
   * recorded by a clock that had fallen back to 1970.
   */
  startedAtMs: number
  /** The history's position at the start. */
  position: number
}

export interface Recent {
  /** Events of the run so far. */
  stored: number
  /** Of the last seconds. */
  live: LatencyRow
  backlog: LatencyRow
}

/** A ledger that a run was written to. */
export interface RunEpoch {
  epoch: string
  /** The first place in it that is of the run. */
  from: number
}

/** An event that is none of the fleet's, as somebody sees it who has just published it. */
export interface OtherEvent {
  position: number
  deviceId: string
  gateway: string
  sequence: number
  disposition: 'accepted' | 'rejected' | 'dead'
  /** Why it is not accepted. */
  reason: string | null
  latencyMs: number
}

/** What the history holds of a run, by device and by event type. */
export interface RowCounts {
  devices: Record<string, DeviceRows>
  byType: Record<string, number>
}

/** Of all events of a run, of those that nothing held up, and of those that had to wait. */
export interface Latency {
  all: LatencyRow
  live: LatencyRow
  backlog: LatencyRow
}

/** The run over time, for plots. */
export interface Course {
  latency: { seconds: number; p50: number; p99: number }[]
  stored: { seconds: number; count: number }[]
}

/** The history as an observer reads it: over its own connection, with the questions of a run. */
export interface HistoryReader {
  position(): Promise<number>
  /** How much is there, and how long the latest was on its way. Reads what is new only. */
  recent(filter: RunFilter, disturbances: readonly Disturbance[]): Promise<Recent>
  stored(filter: RunFilter): Promise<number>
  rows(filter: RunFilter): Promise<RowCounts>
  storedTwice(filter: RunFilter): Promise<number>
  /** The ledgers this run was written to. */
  epochs(filter: RunFilter): Promise<RunEpoch[]>
  latency(filter: RunFilter, disturbances: readonly Disturbance[]): Promise<Latency>
  /** For plots: latency by the second of admission, events stored by the second of their commit. */
  overTime(filter: RunFilter): Promise<Course>
  /** Events that others than the fleet have published since `position`, the oldest first; a few at a time. */
  others(position: number, deviceIds: readonly string[]): Promise<OtherEvent[]>
  /** Dead letters that are neither resolved nor discarded, without those that the demonstration makes on purpose. */
  deadLetters(): Promise<number>
  /** The number of the oldest of those that it makes on purpose and that are still open. */
  letterToShow(): Promise<number | undefined>
  /** The dead letters of these identities, in whatever state they are. */
  lettersOf(identities: readonly Identity[]): Promise<LetterPlace[]>
  /** Of these identities, those that are not there. */
  absent(identities: readonly Identity[]): Promise<Identity[]>
  close(): Promise<void>
}
