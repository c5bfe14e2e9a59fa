import type { Clock } from '../../src/clock.ts'
import { type OpsRoute, type OpsServer, startOpsServer } from '../../src/ops-server.ts'
import type { EdgeGauges } from './gauges.ts'
import { createMetrics } from './metrics.ts'
import type { BrokerObserver } from '../mqtt/observer.ts'
import type { OutboxObserver } from '../outbox/observer.ts'
import type { ForwarderObserver } from '../uplink/observer.ts'
import type { OutboxStats } from '../outbox/outbox.ts'
import { createReadiness } from './readiness.ts'
import { createUplinkState } from './uplink-state.ts'

export interface OpsOptions {
  host: string
  hosts?: readonly string[]
  /** 0: any free port. */
  port: number
  stallAfterMs: number
  reconnectMsMax: number
  offlineMaxMs: number | undefined
  stats: () => OutboxStats
  certificates: () => Record<string, number>
  crlSecondsLeft: () => Record<string, number>
  tlsFaulty: () => Record<string, number>
  lists: EdgeGauges['lists']
  schemas: EdgeGauges['schemas']
  diskWriteBytes: () => number | undefined
  routes: Readonly<Record<string, OpsRoute>>
  clock: Clock
}

/** What one can see of a running edge: metrics and readiness, fed by what the parts report. */
export interface Ops {
  readonly broker: BrokerObserver
  readonly outbox: OutboxObserver
  readonly forwarder: ForwarderObserver
  /** Devices can connect, there. */
  listening(ports: readonly number[]): void
  /** @throws TidegateError `PORT_TAKEN` | `LISTEN_FAILED` */
  start(): Promise<OpsServer>
}

export function createOps(options: OpsOptions): Ops {
  const { host, port } = options
  const metrics = createMetrics()
  const uplink = createUplinkState(options.clock)
  const readiness = createReadiness({ ...options, uplink })
  metrics.watch({ ...options, uplink })

  return {
    broker: metrics.broker,
    outbox: {
      ...metrics.outbox,
      batch(events, payloadBytes) {
        metrics.outbox.batch(events, payloadBytes)
        uplink.admitted(events)
      },
      // Not by batches: the gateway's own reports are no word for a device that waits.
      admitted(result, submissions) {
        metrics.outbox.admitted(result, submissions)
        if (result === 'accepted') readiness.accepted()
      },
    },
    forwarder: {
      ...metrics.forwarder,
      uplink(up) {
        metrics.forwarder.uplink(up)
        uplink.changed(up)
        readiness.uplinkChanged(up)
      },
      unconfirmed: (events, oldestSentAtMs) => uplink.awaits(events, oldestSentAtMs),
      forwarded(events, lagMs) {
        metrics.forwarder.forwarded(events, lagMs)
        uplink.forwarded(events)
        readiness.proved()
      },
    },
    listening: (at) => readiness.listening(at),
    async start() {
      const server = await startOpsServer({
        host,
        port,
        metrics: () => metrics.text(),
        ready: () => readiness.checks(),
        routes: options.routes,
      })
      const watching = readiness.watch()
      return {
        port: server.port,
        async close() {
          watching.stop()
          await server.close()
        },
      }
    },
  }
}
