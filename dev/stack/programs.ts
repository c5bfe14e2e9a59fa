import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { stringify } from 'yaml'
import type { DevelopmentPki } from '../../certs/development.ts'
import { userOf } from '../../src/amqp/address.ts'
import type { TidegateError } from '../../src/errors.ts'
import { isFree } from '../servers/ports.ts'
import { keepPort } from '../servers/state.ts'
import { overLink, type BrokerWay } from './broker-way.ts'
import { cloudConfig, edgeConfig, merge, type Tree } from './config.ts'
import type { Link } from './link.ts'
import { createProgram, type Program } from './processes.ts'

/** What the programs of a stack are to know of it. */
export interface ProgramsOptions {
  /** The stack's: configuration, logs and the edge's data lie in here. */
  dir: string
  gateway: string
  partitions: number
  pki: DevelopmentPki
  broker: BrokerWay
  link: Link | undefined
  /** Of the cloud's user. */
  databaseUrl: string
  /** Merged over what is generated. */
  edgeConfig?: Tree
  cloudConfig?: Tree
  env: NodeJS.ProcessEnv
  onCrash?: (error: TidegateError) => void
}

/** A program that is not started yet, and where its metrics will be. */
export interface Described {
  program: Program
  opsUrl: string
}

export interface DescribedCloud extends Described {
  /** Whether there is a socket by which it can be asked for what failed. */
  hasApi: boolean
}

interface DescribedEdge extends Described {
  mqttPort: number
  dataDir: string
}

const schemasFolder = fileURLToPath(
  new URL(inSource() ? '../../schemas' : '../../../schemas', import.meta.url),
)
const setupFolder = inSource() ? '../../deploy/postgres/' : '../../../deploy/postgres/'
/** Who may do what in the database, and that it holds for a folder that was kept from before there were roles. */
export const setupFiles: readonly string[] = ['roles.sql', 'hand-over.sql'].map((name) =>
  fileURLToPath(new URL(setupFolder + name, import.meta.url)),
)
/** The compiled `tidegate`. */
export const cli = fileURLToPath(
  new URL(inSource() ? '../../dist/cli/tidegate.js' : '../../cli/tidegate.js', import.meta.url),
)

/** The demonstration's own consumer, compiled. */
export const demoConsumer = fileURLToPath(
  new URL(inSource() ? '../../dist/dev/climate-alarms.js' : '../climate-alarms.js', import.meta.url),
)

/** Tests import the TypeScript source; what they start is compiled all the same. */
function inSource(): boolean {
  return import.meta.url.endsWith('.ts')
}

/** Linux takes 107 bytes for the path of a socket, macOS 103 (unix(7)). */
const socketBytesMax = 103

function socketIn(dir: string, name: string): string | undefined {
  const path = join(dir, `${name}.sock`)
  return Buffer.byteLength(path) <= socketBytesMax ? path : undefined
}

/** Writes the configuration of a cloud process. */
export async function describeCloud(options: ProgramsOptions, number: number): Promise<DescribedCloud> {
  const { dir, gateway, partitions, broker, databaseUrl } = options
  const name = `cloud-${number}`
  const opsPort = await keepPort(dir, `${name}-ops`)
  const apiSocket = socketIn(dir, name)
  const generated = cloudConfig({
    instance: name,
    brokerUrl: broker.cloudUrl,
    brokerTls: broker.cloudTls,
    gateway: { name: gateway, user: userOf(broker.uplinkUrl) },
    databaseUrl,
    partitions,
    opsPort,
    apiSocket,
    schemasFolder,
  })
  const config = merge(generated, options.cloudConfig ?? {})
  return {
    ...describe(options, { side: 'cloud', name, opsPort, config }),
    hasApi: apiSocket !== undefined,
  }
}

/**
 * Writes the configuration of the edge. The port for MQTT is chosen now, so that this is done at the last moment: another stack that
 * starts at the same time may want the same.
 */
export async function describeEdge(
  options: ProgramsOptions,
  wishedMqttPort: number | undefined,
): Promise<DescribedEdge> {
  const { dir, gateway, partitions, pki, broker, link } = options
  const mqttPort =
    wishedMqttPort !== undefined && (await isFree(wishedMqttPort))
      ? wishedMqttPort
      : await keepPort(dir, 'mqtt')
  const opsPort = await keepPort(dir, 'edge-ops')
  const dataDir = join(dir, 'edge')
  const generated = edgeConfig({
    gateway,
    dataDir,
    mqttPort,
    mqttTls: { ca: pki.caFile, cert: pki.edge.certFile, key: pki.edge.keyFile },
    uplinkUrl: link ? overLink(broker.uplinkUrl, link) : broker.uplinkUrl,
    uplinkTls: broker.uplinkTls,
    partitions,
    opsPort,
    schemasFolder,
  })
  const own = options.edgeConfig ?? {}
  const ownDataDir = own['dataDir']
  return {
    ...describe(options, { side: 'edge', name: 'edge', opsPort, config: merge(generated, own) }),
    mqttPort,
    dataDir: typeof ownDataDir === 'string' ? ownDataDir : dataDir,
  }
}

export function logFileOf(dir: string, program: string): string {
  return join(dir, 'logs', `${program}.log`)
}

export function configFileOf(dir: string, program: string): string {
  return join(dir, `${program}.yaml`)
}

function describe(
  { dir, env, onCrash }: ProgramsOptions,
  { side, name, opsPort, config }: { side: 'edge' | 'cloud'; name: string; opsPort: number; config: Tree },
): Described {
  const configFile = configFileOf(dir, name)
  // There are passwords in it.
  writeFileSync(configFile, stringify(config), { mode: 0o600 })
  const opsUrl = `http://127.0.0.1:${opsPort}`
  const program = createProgram({
    name,
    args: [cli, side, '--config', configFile],
    env,
    logFile: logFileOf(dir, name),
    readyUrl: `${opsUrl}/readyz`,
    ...(onCrash && { onCrash }),
  })
  return { program, opsUrl }
}
