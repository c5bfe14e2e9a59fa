import { fork } from 'node:child_process'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { stringify } from 'yaml'
import type { DevelopmentPki } from '../../certs/development.ts'
import { freePort } from '../../dev/servers/ports.ts'
import type { Product } from '../run/case.ts'
import { commandOf } from '../run/worker.ts'
import { heapFlags } from '../../src/settings/heap.ts'

/** A program under measurement. */
export interface Running {
  readonly pid: number
  /** Stops it in good order. Idempotent. */
  close(): Promise<void>
}

export interface RunningEdge extends Running {
  mqttPort: number
  opsUrl: string
  /** When its process was started, by performance.now(). */
  startedMs: number
}

export interface EdgeOptions {
  /** Its configuration and, in `data`, what it keeps. */
  dir: string
  pki: DevelopmentPki
  /** Without one the uplink leads nowhere. */
  uplink?: object
  outbox?: object
  partitions?: number
}

/** `tidegate edge` as users run it. Does not wait for it to be ready. */
export async function startEdge(product: Product, options: EdgeOptions): Promise<RunningEdge> {
  const { dir, pki, uplink = { url: 'amqp://nobody:nothing@127.0.0.1:9' }, outbox = {} } = options
  mkdirSync(dir, { recursive: true })
  const [mqttPort, opsPort] = [await freePort(), await freePort()]
  const tls = { ca: pki.caFile, cert: pki.edge.certFile, key: pki.edge.keyFile }
  const config = {
    gateway: 'bench',
    dataDir: join(dir, 'data'),
    mqtt: { host: '127.0.0.1', port: mqttPort, tls },
    uplink,
    outbox,
    ops: { port: opsPort },
    log: { level: 'error' },
  }
  return {
    mqttPort,
    opsUrl: `http://127.0.0.1:${opsPort}`,
    startedMs: performance.now(),
    ...startTidegate(product, 'edge', dir, config),
  }
}

/** A side of `tidegate` with a configuration of its own. Does not wait for it to be ready. */
export function startTidegate(
  product: Product,
  side: 'edge' | 'cloud',
  dir: string,
  config: object,
): Running {
  const file = join(dir, `${side}.yaml`)
  writeFileSync(file, stringify(config))
  return startProgram(commandOf(product), [side, '--config', file])
}

/** A program of Node's that ends with us, or on SIGTERM. */
export function startProgram(file: string, args: readonly string[]): Running {
  const child = fork(file, args, {
    // As the command starts, by its first line.
    execArgv: [...heapFlags],
    stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
  })
  const gone = new Promise<void>((resolve) => child.once('exit', () => resolve()))
  return {
    pid: child.pid ?? 0,
    close() {
      child.kill('SIGTERM')
      return gone
    },
  }
}
