import type { LinkMode } from '../stack/link.ts'

/** Percentiles of events' way from the gateway's clock at admission to the history's at commit, ms. */
export interface Percentiles {
  p50: number
  p99: number
}

/** One look at everything that runs, as the view shows it and the recorder keeps it. */
export interface Snapshot {
  /** Since the fleet began. */
  elapsedMs: number
  devices: number
  connected: number
  published: number
  acknowledged: number
  /** Events in the gateway's outbox; while it is away, all that are not known to have left. */
  buffered: number
  /** Out of the outbox with proof (G3), by the gateway's ledger. */
  forwarded: number
  /** Events of an earlier run that were in the outbox at the start. */
  leftBefore: number
  /** Events the gateway has given up, on record: expired, evicted, lost. */
  undelivered: number
  stored: number
  /** Repeats dropped at the edge, by event ID. */
  duplicates: number
  /** Set aside with their reason, in the history: what misbehaving sensors send. */
  quarantined: number
  /** Whether the gateway has a session with the broker. */
  uplinkUp: boolean
  link: LinkMode
  /** Of the last seconds; undefined while there is none to tell. */
  live: Percentiles | undefined
  /** Of what waited for the uplink. */
  backlog: Percentiles | undefined
  /** Programs and servers that do not answer now. */
  away: readonly string[]
  /** The last proof, and when it was made; undefined before the first. */
  proof: { missing: number; intact: boolean; events: number; atMs: number } | undefined
}
