import { createSteadyCounter, scrape, type Metrics } from './scrape.ts'
import type { Fleet } from '../fleet/fleet.ts'
import type { Disturbance, HistoryReader, LatencyRow, RunFilter } from './history.ts'
import type { Percentiles, Snapshot } from './snapshot.ts'
import type { Stack } from '../stack/stack.ts'

/** What the programs call what the view shows. */
const names = {
  depth: 'tidegate_edge_outbox_events',
  forwarded: 'tidegate_edge_forwarded_total',
  admitted: 'tidegate_edge_admitted_total',
  uplinkUp: 'tidegate_edge_uplink_up',
  deliveries: 'tidegate_cloud_deliveries_total',
} as const

export interface Observer {
  /** One look at everything. Never fails: what does not answer keeps its last value and is `away`. */
  look(elapsedMs: number, signal: AbortSignal): Promise<Snapshot>
  /** Asks the history; slower, and in the way of nobody. Fails while the database is away. */
  ask(disturbances: readonly Disturbance[]): Promise<void>
}

export interface ObserverParts {
  stack: Stack
  fleet: Fleet
  history: HistoryReader
  filter: RunFilter
  /** From `scrapeBefore`. */
  before: readonly (Metrics | undefined)[]
}

/** What the programs had counted before the fleet began: a stack may serve more than one run. */
export async function scrapeBefore(stack: Stack, signal: AbortSignal): Promise<(Metrics | undefined)[]> {
  return Promise.all([stack.edgeOps, ...stack.cloudOps].map((url) => scrape(`${url}/metrics`, signal)))
}

export function createObserver({ stack, fleet, history, filter, before }: ObserverParts): Observer {
  const [edgeBefore, ...cloudsBefore] = before
  const forwarded = createSteadyCounter(edgeBefore?.value(names.forwarded))
  const duplicates = createSteadyCounter(edgeBefore?.value(names.admitted, { result: 'duplicate' }))
  const deadLetters = { group: 'history', outcome: 'dead' }
  const dead = stack.cloudOps.map((_, index) =>
    createSteadyCounter(cloudsBefore[index]?.value(names.deliveries, deadLetters)),
  )
  let edge: Metrics | undefined
  let buffered = 0
  let recent = {
    stored: 0,
    live: undefined as Percentiles | undefined,
    backlog: undefined as Percentiles | undefined,
  }

  return {
    async look(elapsedMs, signal) {
      const [ofEdge, ...ofClouds] = await Promise.all(
        [stack.edgeOps, ...stack.cloudOps].map((url) => scrape(`${url}/metrics`, signal)),
      )
      edge = ofEdge
      buffered = edge?.value(names.depth) ?? buffered
      const { published, acknowledged } = fleet.book.totals()
      return {
        elapsedMs,
        devices: fleet.devices,
        connected: fleet.connected,
        published,
        acknowledged,
        buffered,
        forwarded: forwarded.read(edge?.value(names.forwarded)),
        stored: recent.stored,
        duplicates: duplicates.read(edge?.value(names.admitted, { result: 'duplicate' })),
        deadLettered: dead.reduce(
          (sum, counter, index) => sum + counter.read(ofClouds[index]?.value(names.deliveries, deadLetters)),
          0,
        ),
        uplinkUp: edge?.value(names.uplinkUp) === 1,
        link: stack.link?.mode ?? { kind: 'up' },
        live: recent.live,
        backlog: recent.backlog,
        away: whoIsAway(stack),
      }
    },
    async ask(disturbances) {
      const { stored, live, backlog } = await history.recent(filter, disturbances)
      recent = { stored, live: percentilesOf(live), backlog: percentilesOf(backlog) ?? recent.backlog }
    },
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
