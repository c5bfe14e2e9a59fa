import { type ChildProcess, fork } from 'node:child_process'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { stringify } from 'yaml'
import type { DevelopmentPki } from '../certs/development.ts'

export interface EdgeProcess {
  mqttPort: number
  /** When the process was started, by performance.now(). */
  startedMs: number
  /** Resident memory now, bytes. */
  rssBytes(): number
  /** Of that, what is its own: without the tables that LevelDB maps, whose pages are the kernel's to take back. */
  ownBytes(): number
  stop(): Promise<void>
}

const cli = fileURLToPath(new URL('../cli/tidegate.js', import.meta.url))

/** `tidegate edge` as users run it, with an uplink that leads nowhere. Does not wait for it to be ready. */
export async function startEdge(dir: string, pki: DevelopmentPki, outbox: object = {}): Promise<EdgeProcess> {
  mkdirSync(dir, { recursive: true })
  const mqttPort = await freePort()
  const file = join(dir, 'edge.yaml')
  const tls = { ca: pki.caFile, cert: pki.edge.certFile, key: pki.edge.keyFile }
  writeFileSync(
    file,
    stringify({
      gateway: 'bench',
      dataDir: join(dir, 'data'),
      mqtt: { host: '127.0.0.1', port: mqttPort, tls },
      uplink: { url: 'amqp://nobody:nothing@127.0.0.1:9' },
      outbox,
      ops: { port: await freePort() },
      log: { level: 'error' },
    }),
  )
  const startedMs = performance.now()
  const child = fork(cli, ['edge', '--config', file], { stdio: ['ignore', 'ignore', 'inherit', 'ipc'] })
  const statusBytes = (name: string): number =>
    Number(new RegExp(`${name}:\\s+(\\d+)`).exec(readFileSync(`/proc/${child.pid}/status`, 'utf8'))?.[1]) *
    1024
  return {
    mqttPort,
    startedMs,
    rssBytes: () => statusBytes('VmRSS'),
    ownBytes: () => statusBytes('RssAnon'),
    stop: () => stopped(child),
  }
}

export function stopped(child: ChildProcess): Promise<void> {
  return new Promise((resolve) => {
    child.once('exit', () => resolve())
    child.kill('SIGTERM')
  })
}

export function freePort(): Promise<number> {
  return new Promise((resolve) => {
    const server = createServer().listen(0, '127.0.0.1', () => {
      const address = server.address()
      server.close(() => resolve(typeof address === 'object' && address ? address.port : 0))
    })
  })
}
