import { collectDefaultMetrics, Counter, Gauge, Histogram, Registry } from 'prom-client'
import { undeliveredReasons } from '../../src/contract/event.ts'
import { publishRefusals } from '../uplink/exchange.ts'
import { loweredBy } from '../admission/admission.ts'
import { publishResults } from '../admission/observer.ts'
import { rejectionReasons } from '../admission/quarantine.ts'
import { connectionRefusals } from '../mqtt/entrance/identity.ts'
import { type BrokerObserver, connectionEndings } from '../mqtt/observer.ts'
import { reloadResults } from '../mqtt/trust/trust.ts'
import type { OutboxObserver } from '../outbox/observer.ts'
import { quotaReasons } from '../outbox/outbox.ts'
import { notKeptKinds } from '../sessions/observer.ts'
import type { ForwarderObserver } from '../uplink/observer.ts'
import { type EdgeGauges, watch } from './gauges.ts'

export interface EdgeMetrics {
  readonly broker: BrokerObserver
  readonly outbox: OutboxObserver
  /** What is on its way is a gauge, read from the uplink. */
  readonly forwarder: Omit<ForwarderObserver, 'unconfirmed'>
  /** Gauges are read when somebody looks. */
  watch(state: EdgeGauges): void
  text(): Promise<string>
}

const waitBuckets = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60]
const lagBuckets = [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 3600, 86_400, 604_800]
const batchBuckets = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000]

/** Prometheus metrics of the edge, in a registry of their own. No label ever holds a device ID. */
export function createMetrics(): EdgeMetrics {
  const registry = new Registry()
  const registers = [registry]
  collectDefaultMetrics({ register: registry, prefix: 'tidegate_edge_' })
  return {
    broker: brokerMetrics(registers),
    outbox: outboxMetrics(registers),
    forwarder: forwarderMetrics(registers),
    watch: (state) => watch(state, registers),
    text: () => registry.metrics(),
  }
}

function brokerMetrics(registers: Registry[]): BrokerObserver {
  const counter = counters(registers)
  const connections = new Gauge({
    name: 'tidegate_edge_connections',
    help: 'Open MQTT connections',
    registers,
  })
  const refused = counter('connections_refused_total', 'Connections refused, by reason', {
    reason: connectionRefusals,
  })
  const ended = counter('connections_ended_total', 'Connections that were let in and then ended, by reason', {
    reason: connectionEndings,
  })
  const reloads = counter('tls_reloads_total', 'Times the files of mqtt.tls were read again, by result', {
    result: reloadResults,
  })
  const published = counter('publishes_total', 'Publishes received, by what became of them', {
    result: publishResults,
  })
  const quarantined = counter('quarantined_total', 'Readings quarantined as rejected events, by reason', {
    reason: rejectionReasons,
  })
  const subscriptions = counter(
    'subscriptions_refused_total',
    'Subscriptions that are not the device’s to make, or over its bound',
  )
  const held = counter('devices_held_total', 'Times a device was not read since it was over a rate')
  const clocks = counter('implausible_clocks_total', 'Events whose device clock was not believed')
  const times = counter('unreadable_times_total', 'Events whose device gave a time that cannot be read')
  const skipped = counter('payload_skipped_bytes_total', 'Bytes of payloads that are not in their events')
  const lowered = counter('lowered_events_total', 'Events lowered from the high lane to the normal one', {
    by: loweredBy,
  })
  const notKept = counter('messages_not_kept_total', 'Messages not kept or sent at a bound', {
    what: notKeptKinds,
  })
  const waits = new Histogram({
    name: 'tidegate_edge_ack_wait_seconds',
    help: 'From the arrival of publishes (QoS 1, 2) to their acknowledgement, those that came together once',
    buckets: waitBuckets,
    registers,
  })
  return {
    connections: (open) => connections.set(open),
    connectionRefused: (reason) => refused.inc({ reason }),
    connectionEnded: (reason) => ended.inc({ reason }),
    held: () => held.inc(),
    trustReloaded: (result) => reloads.inc({ result }),
    published: (result, publishes) => published.inc({ result }, publishes),
    quarantined: (reason) => quarantined.inc({ reason }),
    acknowledged: (waitMs) => waits.observe(waitMs / 1000),
    implausibleClock: () => clocks.inc(),
    unreadableTime: () => times.inc(),
    skipped: (bytes) => skipped.inc(bytes),
    lowered: (by) => lowered.inc({ by }),
    subscriptionRefused: () => subscriptions.inc(),
    notKept: (what) => notKept.inc({ what }),
  }
}

function outboxMetrics(registers: Registry[]): OutboxObserver {
  const counter = counters(registers)
  const admitted = counter('admitted_total', 'Events offered to the outbox, by result', {
    result: ['accepted', 'duplicate', 'shed'],
  })
  const refused = counter('quota_refusals_total', 'Publishes that met a bound, by which', {
    reason: [...quotaReasons, 'waiting'],
  })
  const undelivered = counter('undelivered_total', 'Numbered events that will not be delivered, by reason', {
    reason: undeliveredReasons,
  })
  const lost = counter('lost_total', 'Events that damage of the store took')
  const payload = counter('payload_bytes_total', 'Bytes of event text made durable')
  const written = counter(
    'written_bytes_total',
    'Bytes given to the disk: keys and values of every write of the outbox',
  )
  const fsync = new Histogram({
    name: 'tidegate_edge_fsync_seconds',
    help: 'Synced writes of the outbox',
    buckets: waitBuckets,
    registers,
  })
  const batches = new Histogram({
    name: 'tidegate_edge_batch_events',
    help: 'Events in one synced write',
    buckets: batchBuckets,
    registers,
  })
  return {
    wrote(bytes, syncMs) {
      written.inc(bytes)
      if (syncMs !== undefined) fsync.observe(syncMs / 1000)
    },
    batch(events, payloadBytes) {
      batches.observe(events)
      payload.inc(payloadBytes)
    },
    admitted: (result, submissions) => admitted.inc({ result }, submissions),
    refused: (reason, submissions) => refused.inc({ reason }, submissions),
    undelivered: (reason, count) => undelivered.inc({ reason }, count),
    lost: (count) => lost.inc(count),
  }
}

function forwarderMetrics(registers: Registry[]): EdgeMetrics['forwarder'] {
  const counter = counters(registers)
  const forwarded = counter('forwarded_total', 'Events confirmed, routed and released (G3)')
  const refused = counter('publish_refusals_total', 'Events the exchange did not route or refused', {
    code: publishRefusals,
  })
  const changes = counter('uplink_changes_total', 'Times the uplink came up or was lost', {
    to: ['up', 'down'],
  })
  const confirms = new Histogram({
    name: 'tidegate_edge_confirm_seconds',
    help: 'From publishing a message to its publisher confirm',
    buckets: waitBuckets,
    registers,
  })
  const lag = new Histogram({
    name: 'tidegate_edge_forward_lag_seconds',
    help: 'From the admission of an event to its proof of routing: the oldest of each release',
    buckets: lagBuckets,
    registers,
  })
  return {
    uplink: (up) => changes.inc({ to: up ? 'up' : 'down' }),
    forwarded(events, lagMs) {
      forwarded.inc(events)
      lag.observe(Math.max(0, lagMs) / 1000)
    },
    confirmed: (latencyMs) => confirms.observe(latencyMs / 1000),
    refused: (code, events) => refused.inc({ code }, events),
  }
}

type CounterMaker = (name: string, help: string, labels?: Record<string, readonly string[]>) => Counter

/**
 * Counters whose every series is there from the start, at 0: to Prometheus, one that appears with its first
 * increment has not increased.
 */
function counters(registers: Registry[]): CounterMaker {
  return (name, help, labels = {}) => {
    const labelNames = Object.keys(labels)
    const counter = new Counter({ name: `tidegate_edge_${name}`, help, labelNames, registers })
    for (const [label, values] of Object.entries(labels)) {
      for (const value of values) counter.inc({ [label]: value }, 0)
    }
    return counter
  }
}
