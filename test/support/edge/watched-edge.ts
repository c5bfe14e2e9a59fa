import { noSchemasUsed } from '../../../src/contract/schemas-used.ts'
import { forward } from '../../../edge/uplink/forwarder.ts'
import { createOps, type Ops, type OpsOptions } from '../../../edge/ops/ops.ts'
import type { Outbox } from '../../../edge/outbox/outbox.ts'
import type { OutboxOptions } from '../../../edge/outbox/options.ts'
import { silentLog } from '../../../src/log.ts'
import { SimulatedDisk } from '../fakes/simulated-disk.ts'
import { FakeClock } from '../fakes/clock.ts'
import { FakeExchange } from '../fakes/exchange.ts'
import { openTestOutbox } from './test-outbox.ts'

/**
 * A real outbox on a disk in memory, and an uplink that cannot be reached at first, and all that can be seen of it
 * from outside, wired as in edge/main.ts.
 */
export interface WatchedEdge {
  clock: FakeClock
  disk: SimulatedDisk
  outbox: Outbox
  exchange: FakeExchange
  ops: Ops
  /** Seconds pass, one by one. */
  readonly pass: (seconds: number) => Promise<void>
  /** What Prometheus would read, by `name{labels}` without the prefix of the edge. */
  readonly metrics: () => Promise<Record<string, number>>
  /** Names of the checks that fail. */
  faults(): Promise<string[]>
  close(): Promise<void>
}

export async function watchedEdge(
  options: Partial<OutboxOptions> & Partial<OpsOptions> = {},
): Promise<WatchedEdge> {
  const clock = new FakeClock()
  const disk = new SimulatedDisk()
  const ops = createOps({
    host: '127.0.0.1',
    port: 0,
    stallAfterMs: 60_000,
    reconnectMsMax: 30_000,
    offlineMaxMs: undefined,
    stats: () => outbox.stats(),
    certificates: () => ({ mqtt: 90.5 }),
    crlSecondsLeft: () => ({ mqtt: 86_400 }),
    tlsFaulty: () => ({ crl: 0 }),
    lists: () => ({ number: 0, ageS: -1, refused: 0 }),
    schemas: {
      use: new Map(),
      seen: () => ({
        used: noSchemasUsed,
        confirmedMs: undefined,
        changes: 0,
        refused: { unreachable: 0, invalid: 0, older: 0, unusable: 0, unkept: 0 },
      }),
    },
    diskWriteBytes: () => disk.bytesWritten,
    routes: {},
    clock,
    ...options,
  })
  const outbox = await openTestOutbox({
    folder: disk,
    clock,
    random: () => 0.5,
    observer: ops.outbox,
    ...options,
  })
  const exchange = new FakeExchange()
  exchange.reachable = false
  const stop = new AbortController()
  const forwarding = forward(
    {
      outbox,
      exchange,
      clock,
      random: () => 0.5,
      log: silentLog,
      observer: ops.forwarder,
      batch: { eventsMax: 1, bytesMax: 65_536, partitions: 1 },
      windowEvents: 10,
      confirmTimeoutMs: 30_000,
      retry: { delayMsMin: 500, delayMsMax: 30_000 },
    },
    stop.signal,
  )
  const server = await ops.start()
  ops.listening([8883])
  const ask = (path: string): Promise<Response> => fetch(`http://127.0.0.1:${server.port}${path}`)
  return {
    clock,
    disk,
    outbox,
    exchange,
    ops,
    async pass(seconds) {
      for (let second = 0; second < seconds; second++) await clock.advance(1000)
    },
    async metrics() {
      const text = await (await ask('/metrics')).text()
      const series = text.matchAll(/^tidegate_edge_(\S+) (\S+)$/gm)
      return Object.fromEntries([...series].map(([, name, value]) => [name, Number(value)]))
    },
    async faults() {
      const { checks } = (await (await ask('/readyz')).json()) as { checks: Record<string, { ok: boolean }> }
      return Object.entries(checks).flatMap(([name, { ok }]) => (ok ? [] : [name]))
    },
    async close() {
      await server.close()
      stop.abort()
      await clock.advance(5000)
      await forwarding
      await outbox.close()
    },
  }
}
