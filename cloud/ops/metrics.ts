import { Counter, Histogram, Registry } from 'prom-client'
import { type MirrorResult, mirrorResults } from '../letters/mirror-rabbit.ts'
import { outcomes, type PipelineObserver } from '../pipeline/observer.ts'
import type { ApiObserver } from '../api/observer.ts'
import { apiMetrics } from './api-metrics.ts'
import { watch } from './gauges.ts'
import type { CloudState } from './readiness.ts'

export interface Metrics {
  readonly observer: PipelineObserver
  mirrored(group: string, result: MirrorResult): void
  readonly api: ApiObserver
  /** Gauges are read when somebody looks. */
  watch(state: CloudState): void
  text(): Promise<string>
}

/** Recorded longer than this before it arrived here: it waited somewhere, and is no measure of the way itself. */
const backlogAfterMs = 10_000
/** What would have taken longer says more of a clock, or of a sender, than of the way; one of them would spoil the sum for good. */
const latencyMsMax = 366 * 86_400_000
const secondsBuckets = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30]
const latencyBuckets = [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 3600, 86_400, 604_800]

/** Prometheus metrics of the cloud, in a registry of their own. No label ever holds a device ID. */
export function createMetrics(): Metrics {
  const registry = new Registry()
  const registers = [registry]
  const counters = createCounters(registers)
  const observer = observing(counters, createHistograms(registers))
  const { api, reset } = apiMetrics(registers)
  return {
    observer,
    mirrored: (group, result) => counters.mirrored.inc({ group, result }),
    api,
    watch(state) {
      reset()
      // To Prometheus, a series that appears with its first increment has not increased.
      for (const { name: group } of state.groups) {
        for (const outcome of outcomes) {
          counters.deliveries.inc({ group, outcome }, 0)
          counters.replayed.inc({ group, outcome }, 0)
        }
        for (const result of mirrorResults) counters.mirrored.inc({ group, result }, 0)
      }
      watch(state, registers)
    },
    text: () => registry.metrics(),
  }
}

type Counters = ReturnType<typeof createCounters>
type Histograms = ReturnType<typeof createHistograms>

function observing(counters: Counters, histograms: Histograms): PipelineObserver {
  return {
    settled: (group, outcome) => counters.deliveries.inc({ group, outcome }),
    replayed: (group, outcome) => counters.replayed.inc({ group, outcome }),
    transaction(group, size, tookMs, result) {
      histograms.batches.observe({ group }, size)
      histograms.transactions.observe({ group, result }, tookMs / 1000)
    },
    applied(group, event, delivery, nowMs) {
      const recordedMs = Date.parse(event.recordedtime)
      const kind = delivery.arrivedAtMs - recordedMs > backlogAfterMs ? 'backlog' : 'live'
      const tookMs = Math.max(0, nowMs - recordedMs)
      if (tookMs <= latencyMsMax) histograms.latency.observe({ group, kind }, tookMs / 1000)
      histograms.attempts.observe({ group }, delivery.attempt)
    },
    failed: (group, consequence, code) => counters.failures.inc({ group, consequence, code }),
    held: (group, code) => counters.holds.inc({ group, code }),
  }
}

function createCounters(registers: Registry[]) {
  const deliveries = new Counter({
    name: 'tidegate_cloud_deliveries_total',
    help: 'Deliveries settled, by outcome',
    labelNames: ['group', 'outcome'],
    registers,
  })
  const replayed = new Counter({
    name: 'tidegate_cloud_replayed_total',
    help: 'Of these, letters and events of history that a replay has sent',
    labelNames: ['group', 'outcome'],
    registers,
  })
  const failures = new Counter({
    name: 'tidegate_cloud_failures_total',
    help: 'Failed attempts, by what followed and by code',
    labelNames: ['group', 'consequence', 'code'],
    registers,
  })
  const holds = new Counter({
    name: 'tidegate_cloud_holds_total',
    help: 'Waits for the end of an outage',
    labelNames: ['group', 'code'],
    registers,
  })
  const mirrored = new Counter({
    name: 'tidegate_cloud_dead_letters_mirrored_total',
    help: 'Copies of dead letters for other tools, by what became of them; the letters are in PostgreSQL',
    labelNames: ['group', 'result'],
    registers,
  })
  return { deliveries, replayed, failures, holds, mirrored }
}

function createHistograms(registers: Registry[]) {
  const attempts = new Histogram({
    name: 'tidegate_cloud_attempts',
    help: 'Attempts until an event was processed',
    labelNames: ['group'],
    buckets: [1, 2, 3, 4, 5, 10],
    registers,
  })
  const transactions = new Histogram({
    name: 'tidegate_cloud_transaction_seconds',
    help: 'Transactions: inbox, handlers and commit',
    labelNames: ['group', 'result'],
    buckets: secondsBuckets,
    registers,
  })
  const batches = new Histogram({
    name: 'tidegate_cloud_batch_deliveries',
    help: 'Deliveries per transaction',
    labelNames: ['group'],
    buckets: [1, 2, 5, 10, 25, 50, 100, 200, 500, 1000, 5000],
    registers,
  })
  const latency = new Histogram({
    name: 'tidegate_cloud_end_to_end_seconds',
    help: 'From admission at the edge to the commit here; backlog waited at the edge or in the broker',
    labelNames: ['group', 'kind'],
    buckets: latencyBuckets,
    registers,
  })
  return { attempts, transactions, batches, latency }
}
