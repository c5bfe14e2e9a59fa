import { accessSync, constants, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { DevelopmentPki } from '../../certs/development.ts'
import { startOnLeash } from '../../dev/servers/leashed.ts'
import { freePort } from '../../dev/servers/ports.ts'
import { type Running, startProgram } from './edge.ts'

export interface RunningBroker extends Running {
  port: number
}

/** aedes alone: mutual TLS, nothing stored. */
export async function startBareAedes({ caFile, edge }: DevelopmentPki): Promise<RunningBroker> {
  const port = await freePort()
  const program = fileURLToPath(new URL('./bare-aedes.js', import.meta.url))
  return { port, ...startProgram(program, [String(port), caFile, edge.certFile, edge.keyFile]) }
}

export interface Mosquitto extends RunningBroker {
  /** kill -9; resolves when it is gone. */
  kill(): Promise<void>
}

/**
 * Saves everything after each change, with fsync; but after the PUBACK, and all of it each time: what was acknowledged since the last
 * save is lost with a kill, and a queue that grows is written ever more slowly.
 */
export const mosquittoDurable = ['persistence true', 'autosave_on_changes true', 'autosave_interval 1']

/** Mosquitto over mutual TLS on loopback, with further lines of configuration. @throws Error if it is not installed */
export async function startMosquitto(
  dir: string,
  pki: DevelopmentPki,
  { port, lines }: { port?: number; lines: readonly string[] },
): Promise<Mosquitto> {
  const file = mosquittoFile()
  mkdirSync(dir, { recursive: true })
  const listensOn = port ?? (await freePort())
  const config = [
    ...(process.getuid?.() === 0 ? ['user root'] : []),
    'per_listener_settings false',
    `listener ${listensOn} 127.0.0.1`,
    `cafile ${pki.caFile}`,
    `certfile ${pki.edge.certFile}`,
    `keyfile ${pki.edge.keyFile}`,
    'require_certificate true',
    'use_identity_as_username true',
    'allow_anonymous true',
    'max_queued_messages 0',
    `persistence_location ${dir}/`,
    'log_type error',
    ...lines,
  ]
  const configFile = join(dir, 'mosquitto.conf')
  writeFileSync(configFile, `${config.join('\n')}\n`)
  const leashed = await startOnLeash({
    helpers: [],
    server: { file, args: ['-c', configFile], env: {}, cwd: dir },
    stopSignal: 'SIGTERM',
    graceMs: 10_000,
    consoleFile: join(dir, 'mosquitto.log'),
  })
  return {
    pid: leashed.pid,
    port: listensOn,
    async close() {
      leashed.stop()
      await leashed.ended
    },
    async kill() {
      leashed.kill()
      await leashed.ended
    },
  }
}

/** Debian keeps what serves in /usr/sbin, where only root looks. */
function mosquittoFile(): string {
  const folders = [...(process.env['PATH'] ?? '').split(':'), '/usr/sbin']
  const found = folders
    .map((folder) => join(folder, 'mosquitto'))
    .find((file) => {
      try {
        accessSync(file, constants.X_OK)
        return true
      } catch {
        return false
      }
    })
  if (found === undefined)
    throw new Error('mosquitto is not installed; Debian’s package is "mosquitto": apt-get install mosquitto')
  return found
}
