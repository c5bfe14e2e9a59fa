import { createSteadyCounter, scrape, type Metrics } from './scrape.ts'
import { createFlow, type LedgerReading } from './flow.ts'
import type { Verdict } from './proof.ts'
import type { Fleet } from '../fleet/fleet.ts'
import type { Disturbance, HistoryReader, LatencyRow, OtherEvent, RunFilter } from './history.ts'
import type { Percentiles, Snapshot } from './snapshot.ts'
import { milliseconds } from '../format.ts'
import type { Stack } from '../stack/stack.ts'

/** What the programs call what the view shows. */
const names = {
  depth: 'tidegate_edge_outbox_events',
  sequence: 'tidegate_edge_ledger_sequence',
  undelivered: 'tidegate_edge_undelivered_total',
  admitted: 'tidegate_edge_admitted_total',
  uplinkUp: 'tidegate_edge_uplink_up',
  deliveries: 'tidegate_cloud_deliveries_total',
} as const

export interface Observer {
  /** One look at everything. Never fails: what does not answer keeps its last value and is `away`. */
  look(elapsedMs: number, signal: AbortSignal): Promise<Snapshot>
  /** Asks the history; slower, and in the way of nobody. Fails while the database is away. */
  ask(disturbances: readonly Disturbance[]): Promise<void>
  /** Has it proven that nothing is missing so far, and shows that from now on. Undefined: it could not be told. */
  prove(signal: AbortSignal): Promise<Verdict | undefined>
}

export interface ObserverParts {
  stack: Stack
  fleet: Fleet
  history: HistoryReader
  filter: RunFilter
  /** From `scrapeBefore`. */
  before: readonly (Metrics | undefined)[]
  proveSoFar: (signal: AbortSignal) => Promise<Verdict>
  /** The device whose certificate is for whoever looks in. */
  visitor: string | undefined
  /** Told of each event that is none of the fleet's. */
  onNote: (text: string) => void
}

/** What the programs had counted before the fleet began: a stack may serve more than one run. */
export async function scrapeBefore(stack: Stack, signal: AbortSignal): Promise<(Metrics | undefined)[]> {
  return Promise.all([stack.edgeOps, ...stack.cloudOps].map((url) => scrape(`${url}/metrics`, signal)))
}

export function createObserver(parts: ObserverParts): Observer {
  const { stack, fleet, history, filter, before } = parts
  const [edgeBefore, ...cloudsBefore] = before
  const flow = createFlow(ledgerOf(edgeBefore))
  const duplicates = createSteadyCounter(edgeBefore?.value(names.admitted, { result: 'duplicate' }))
  const quarantined = createQuarantineCounter(cloudsBefore)
  let elapsedNowMs = 0
  let proof: Snapshot['proof']
  const others = { count: 0, upTo: filter.position }
  let recent = {
    stored: 0,
    live: undefined as Percentiles | undefined,
    backlog: undefined as Percentiles | undefined,
  }

  return {
    async look(elapsedMs, signal) {
      elapsedNowMs = elapsedMs
      const { published, acknowledged } = fleet.book.totals()
      const [edge, ...ofClouds] = await Promise.all(
        [stack.edgeOps, ...stack.cloudOps].map((url) => scrape(`${url}/metrics`, signal)),
      )
      return {
        elapsedMs,
        devices: fleet.devices,
        connected: fleet.connected,
        published,
        acknowledged,
        ...flow.see(ledgerOf(edge), { acknowledged, others: others.count }),
        stored: recent.stored,
        duplicates: duplicates.read(edge?.value(names.admitted, { result: 'duplicate' })),
        quarantined: quarantined(ofClouds),
        uplinkUp: edge?.value(names.uplinkUp) === 1,
        link: stack.link?.mode ?? { kind: 'up' },
        live: recent.live,
        backlog: recent.backlog,
        away: whoIsAway(stack),
        proof,
      }
    },
    async ask(disturbances) {
      const { stored, live, backlog } = await history.recent(filter, disturbances)
      recent = { stored, live: percentilesOf(live), backlog: percentilesOf(backlog) ?? recent.backlog }
      for (const other of await history.others(others.upTo, filter.deviceIds)) {
        others.upTo = other.position
        others.count += 1
        parts.onNote(tellOther(other, parts.visitor))
      }
    },
    async prove(signal) {
      try {
        const verdict = await parts.proveSoFar(signal)
        const { missing, intact, events } = verdict
        proof = { missing, intact, events, atMs: elapsedNowMs }
        return verdict
      } catch {
        // A server that is away proves nothing and refutes nothing; the last proof stands with its age.
        return undefined
      }
    },
  }
}

/** To whoever has published it, and looks for it on the screen. */
function tellOther(event: OtherEvent, visitor: string | undefined): string {
  const { deviceId, gateway, sequence, disposition, reason, latencyMs } = event
  const whose = deviceId === visitor ? 'your event' : `an event of ${deviceId}`
  const place = `${gateway}/${sequence}`
  return disposition === 'accepted'
    ? `${whose}: stored as ${place} after ${milliseconds(latencyMs)}`
    : `${whose}: set aside as ${place} after ${milliseconds(latencyMs)}: ${reason ?? disposition}`
}

/** Events that the clouds have stored with their fault, of all of them together. */
function createQuarantineCounter(
  before: readonly (Metrics | undefined)[],
): (clouds: readonly (Metrics | undefined)[]) => number {
  const labels = { group: 'history', outcome: 'recorded' }
  const counters = before.map((metrics) => createSteadyCounter(metrics?.value(names.deliveries, labels)))
  return (clouds) =>
    counters.reduce(
      (sum, counter, index) => sum + counter.read(clouds[index]?.value(names.deliveries, labels)),
      0,
    )
}

function ledgerOf(edge: Metrics | undefined): LedgerReading {
  return {
    sequence: edge?.value(names.sequence),
    buffered: edge?.value(names.depth),
    undelivered: edge?.value(names.undelivered),
  }
}

function percentilesOf({ count, p50, p99 }: LatencyRow): Percentiles | undefined {
  return count === 0 ? undefined : { p50, p99 }
}

function whoIsAway({ edge, clouds, rabbit, postgres }: Stack): string[] {
  const away = [edge, ...clouds].filter(({ pid }) => pid === undefined).map(({ name }) => name)
  if (rabbit && rabbit.pid === undefined) away.push('RabbitMQ')
  if (postgres && postgres.pid === undefined) away.push('PostgreSQL')
  return away
}
