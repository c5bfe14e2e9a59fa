import { type OpsServer, startOpsServer } from '../../src/ops-server.ts'
import type { MirrorResult } from '../letters/mirror-rabbit.ts'
import type { ApiObserver } from '../api/observer.ts'
import type { PipelineObserver } from '../pipeline/observer.ts'
import { createMetrics } from './metrics.ts'
import { type CloudState, readiness } from './readiness.ts'

export interface OpsOptions {
  host: string
  hosts?: readonly string[]
  /** 0: any free port. */
  port: number
  /** Asked from `start()` on. */
  state: CloudState
}

/** What one can see of a running cloud: metrics and readiness, fed by what the parts report. */
export interface Ops {
  readonly pipeline: PipelineObserver
  /** What became of the copy of a dead letter. */
  mirrored(group: string, result: MirrorResult): void
  readonly api: ApiObserver
  /** @throws TidegateError `PORT_TAKEN` | `LISTEN_FAILED` */
  start(): Promise<OpsServer>
}

export function createOps({ host, hosts, port, state }: OpsOptions): Ops {
  const metrics = createMetrics()
  return {
    pipeline: metrics.observer,
    mirrored: (group, result) => metrics.mirrored(group, result),
    api: metrics.api,
    start() {
      metrics.watch(state)
      return startOpsServer({
        host,
        hosts,
        port,
        metrics: () => metrics.text(),
        ready: () => readiness(state),
      })
    },
  }
}
