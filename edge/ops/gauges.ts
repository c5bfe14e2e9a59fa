import { Counter, Gauge, type Registry } from 'prom-client'
import { type OutboxStats, quotaReasons } from '../outbox/outbox.ts'
import type { Schemas } from '../schemas/schemas.ts'
import { watchSchemas } from './schema-gauges.ts'
import type { UplinkState } from './uplink-state.ts'

export interface EdgeGauges {
  stats: () => OutboxStats
  uplink: UplinkState
  /** Days left of each certificate in use, by its place in the configuration. */
  certificates(): Readonly<Record<string, number>>
  /** Seconds until the first revocation list of an entrance is out of date, less than 0 when it is; nothing where there is none. */
  crlSecondsLeft(): Readonly<Record<string, number>>
  /** 1 for each part of `mqtt.tls` whose files are faulty, 0 for the others. */
  tlsFaulty(): Readonly<Record<string, number>>
  /** Those that came down with the uplink. */
  readonly lists: () => { number: number; ageS: number; refused: number }
  /** What readings are judged by. */
  readonly schemas: Pick<Schemas, 'use' | 'seen'>
  /** What the system says that this process has written; undefined where it does not say. */
  readonly diskWriteBytes: () => number | undefined
}

/** What is read when somebody looks. */
export function watch(state: EdgeGauges, registers: Registry[]): void {
  const make = gauges(registers)
  watchOutbox(state, make)
  watchUplink(state, make)
  make.labelled('certificate_days_left', 'Days until a certificate ends', 'certificate', () =>
    state.certificates(),
  )
  make.labelled('crl_seconds_left', 'Seconds until a revocation list is out of date', 'listener', () =>
    state.crlSecondsLeft(),
  )
  make.labelled('tls_faulty', '1 while the files of this part of mqtt.tls are faulty', 'part', () =>
    state.tlsFaulty(),
  )
  watchLists(state, make, registers)
  watchSchemas(state.schemas, registers)
  watchDisk(state.diskWriteBytes, registers)
}

function watchLists({ lists }: EdgeGauges, { gauge }: GaugeMaker, registers: Registry[]): void {
  gauge('lists_number', 'Number of the published lists in force; 0: none', () => lists().number)
  gauge(
    'lists_age_seconds',
    'Since the published lists in force were issued; -1: there are none',
    () => lists().ageS,
  )
  const refused = new Counter({
    name: 'tidegate_edge_lists_refused_total',
    help: 'Published lists that came down and were refused',
    registers,
    collect() {
      refused.reset()
      refused.inc(lists().refused)
    },
  })
}

function watchOutbox({ stats }: EdgeGauges, { gauge, labelled }: GaugeMaker): void {
  labelled('outbox_events', 'Events in the outbox', 'lane', () => stats().depth)
  labelled('outbox_bytes', 'Bytes of event text in the outbox', 'lane', () => stats().bytes)
  labelled('outbox_oldest_age_seconds', 'Age of the oldest event, 0 for an empty lane', 'lane', () => {
    const { high, normal } = stats().oldestAgeMs
    return { high: high / 1000, normal: normal / 1000 }
  })
  gauge('outbox_backlog_events', 'Events of the last outage that still drain', () => stats().backlog)
  gauge(
    'outbox_waiting',
    'Publishes not acknowledged yet: at a bound, or in line for the disk',
    () => stats().waiting,
  )
  labelled('outbox_refusing', '1 while this bound holds publishes back', 'reason', () => {
    const { refusing } = stats()
    return Object.fromEntries(quotaReasons.map((reason) => [reason, Number(reason === refusing)]))
  })
  gauge('outbox_remembered_ids', 'Event IDs in the dedup window', () => stats().rememberedIds)
  gauge('outbox_devices', 'Devices with events in the outbox', () => stats().devices)
  gauge(
    'unsigned_events',
    'Events that no checkpoint signs yet; -1: there is no key to sign with',
    () => stats().unsigned?.events ?? -1,
  )
  gauge(
    'unsigned_seconds',
    'For how long there have been events that no checkpoint signs; -1: there is no key to sign with',
    () => {
      const { unsigned } = stats()
      return unsigned === undefined ? -1 : unsigned.ageMs / 1000
    },
  )
  gauge('ledger_sequence', 'Last sequence given out in this epoch', () => stats().lastSequence)
}

function watchUplink({ stats, uplink }: EdgeGauges, { gauge }: GaugeMaker): void {
  gauge('outbox_in_flight_events', 'Events published and not confirmed yet', () => uplink.unconfirmed)
  gauge(
    'oldest_unconfirmed_seconds',
    'How long the oldest of them has waited for its publisher confirm',
    () => uplink.oldestUnconfirmedMs() / 1000,
  )
  gauge('uplink_up', '1 while the uplink is up', () => Number(uplink.up))
  gauge('uplink_offline_seconds', 'How long the uplink has been down', () => uplink.offlineMs() / 1000)
  gauge(
    'drain_estimate_seconds',
    'Time to empty the outbox at the present pace, with what comes in; -1 while it does not get emptier',
    () => {
      const { high, normal } = stats().depth
      const drainMs = uplink.drainMs(high + normal)
      return drainMs === undefined ? -1 : drainMs / 1000
    },
  )
}

interface GaugeMaker {
  gauge: (name: string, help: string, read: () => number) => void
  labelled: (name: string, help: string, label: string, read: () => Record<string, number>) => void
}

function gauges(registers: Registry[]): GaugeMaker {
  return {
    gauge(name, help, read) {
      const made: Gauge = new Gauge({
        name: `tidegate_edge_${name}`,
        help,
        registers,
        collect: () => made.set(read()),
      })
    },
    labelled(name, help, label, read) {
      const made: Gauge = new Gauge({
        name: `tidegate_edge_${name}`,
        help,
        labelNames: [label],
        registers,
        collect() {
          for (const [key, value] of Object.entries(read())) made.set({ [label]: key }, value)
        },
      })
    },
  }
}

function watchDisk(read: EdgeGauges['diskWriteBytes'], registers: Registry[]): void {
  if (read() === undefined) return
  const made: Counter = new Counter({
    name: 'tidegate_edge_disk_write_bytes_total',
    help: 'Bytes this process has caused to be written to the disk, as the system counts them',
    registers,
    collect() {
      made.reset()
      made.inc(read() ?? 0)
    },
  })
}
