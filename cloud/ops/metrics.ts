import { Counter, Gauge, Histogram, Registry } from 'prom-client'
import type { Group } from '../groups/group.ts'
import { outcomes, type PipelineObserver } from '../pipeline/observer.ts'
import type { CloudState } from './readiness.ts'

export interface Metrics {
  readonly observer: PipelineObserver
  /** Gauges are read when somebody looks. */
  watch(state: CloudState): void
  text(): Promise<string>
}

/** Recorded longer than this before it arrived here: it waited somewhere, and is no measure of the way itself. */
const backlogAfterMs = 10_000
const secondsBuckets = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30]
const latencyBuckets = [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 3600, 86_400, 604_800]

/** Prometheus metrics of the cloud, in a registry of their own. No label ever holds a device ID. */
export function createMetrics(): Metrics {
  const registry = new Registry()
  const registers = [registry]
  const deliveries = new Counter({
    name: 'tidegate_cloud_deliveries_total',
    help: 'Deliveries settled, by outcome',
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
  const observer: PipelineObserver = {
    settled: (group, outcome) => deliveries.inc({ group, outcome }),
    transaction(group, size, tookMs, result) {
      batches.observe({ group }, size)
      transactions.observe({ group, result }, tookMs / 1000)
    },
    applied(group, event, delivery, nowMs) {
      const recordedMs = Date.parse(event.recordedtime)
      const kind = delivery.arrivedAtMs - recordedMs > backlogAfterMs ? 'backlog' : 'live'
      latency.observe({ group, kind }, Math.max(0, nowMs - recordedMs) / 1000)
      attempts.observe({ group }, delivery.attempt)
    },
    failed: (group, consequence, code) => failures.inc({ group, consequence, code }),
    held: (group, code) => holds.inc({ group, code }),
  }
  return {
    observer,
    watch(state) {
      // To Prometheus, a series that appears with its first increment has not increased.
      for (const { name: group } of state.groups) {
        for (const outcome of outcomes) deliveries.inc({ group, outcome }, 0)
      }
      watch(state, registers)
    },
    text: () => registry.metrics(),
  }
}

function watch(state: CloudState, registers: Registry[]): void {
  const perGroup = (name: string, help: string, read: (group: Group) => number): void => {
    const gauge: Gauge<'group'> = new Gauge({
      name,
      help,
      labelNames: ['group'],
      registers,
      collect() {
        for (const group of state.groups) gauge.set({ group: group.name }, read(group))
      },
    })
  }
  perGroup('tidegate_cloud_in_flight', 'Deliveries taken and not settled', (group) => group.inFlight)
  perGroup(
    'tidegate_cloud_partitions_active',
    'Partitions that deliver to this instance',
    (group) => group.active,
  )
  perGroup('tidegate_cloud_held', '1 while deliveries are held because of an outage', (group) =>
    Number(group.heldBy !== undefined),
  )
  perGroup(
    'tidegate_cloud_stalled_seconds',
    'How long there has been work without progress',
    (group) => group.progress().stalledMs / 1000,
  )
  const former: Gauge<'group' | 'state'> = new Gauge({
    name: 'tidegate_cloud_former_queues',
    help: 'Partition queues of former versions that are there: being drained, or drained and to be deleted',
    labelNames: ['group', 'state'],
    registers,
    collect() {
      for (const group of state.groups)
        for (const [state, count] of Object.entries(group.former))
          former.set({ group: group.name, state }, count)
    },
  })
  const findings: Gauge<'severity'> = new Gauge({
    name: 'tidegate_cloud_queue_findings',
    help: 'Settings of queues that are not as they should be; none without a look at them',
    labelNames: ['severity'],
    registers,
    collect() {
      findings.reset()
      for (const [severity, count] of Object.entries(state.findings() ?? {}))
        findings.set({ severity }, count)
    },
  })
  const database: Gauge = new Gauge({
    name: 'tidegate_cloud_database_up',
    help: '1 while the database answers',
    registers,
    collect() {
      database.set(Number(state.databaseUp()))
    },
  })
  const broker: Gauge<'connection'> = new Gauge({
    name: 'tidegate_cloud_broker_up',
    help: '1 while connected to the broker, by connection',
    labelNames: ['connection'],
    registers,
    collect() {
      for (const [connection, up] of Object.entries(state.brokersUp())) broker.set({ connection }, Number(up))
    },
  })
}
