import { mkdirSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { stringify } from 'yaml'
import type { DevelopmentPki } from '../../certs/development.ts'
import { systemClock } from '../../src/clock.ts'
import type { TidegateError } from '../../src/errors.ts'
import { createScope } from '../../src/lifecycle.ts'
import { startLink, type Link } from './link.ts'
import { givenBroker, overLink, privateBroker } from './broker-way.ts'
import { createProgram, type Program } from './processes.ts'
import type { PrivateServer } from '../servers/private-server.ts'
import type { RabbitServer } from '../servers/rabbit/rabbit.ts'
import { isFree } from '../servers/ports.ts'
import { keepPort } from '../servers/state.ts'
import { cloudConfig, edgeConfig, gatewayDefault, merge, type Tree } from './config.ts'
import { startServers } from './servers.ts'

export interface StackOptions {
  /** Everything the stack keeps lies in here; reused if it holds a stack. */
  dir: string
  devices: readonly string[]
  gateway?: string
  /** Cloud processes side by side; default 1. */
  clouds?: number
  /** Default 4. */
  partitions?: number
  /** Taken if it is free; else, and by default, the port of the last run or any other. */
  mqttPort?: number
  /** Merged over what is generated. */
  edgeConfig?: Tree
  cloudConfig?: Tree
  /** `TIDEGATE_AMQP_URL` and `TIDEGATE_PG_URL`: servers that are given are not started. */
  env: NodeJS.ProcessEnv
  say: (line: string) => void
  signal?: AbortSignal
  /** A program or a server of ours ended although nobody asked it to. */
  onCrash?: (error: TidegateError) => void
}

/** The whole of Tidegate on this machine, as real processes, with a handle on each part. */
export interface Stack {
  /** Everything it keeps lies in here. */
  readonly dir: string
  readonly gateway: string
  readonly partitions: number
  readonly pki: DevelopmentPki
  /** Between the edge and the broker; undefined where the broker was given as amqps://. */
  readonly link: Link | undefined
  readonly edge: Program
  readonly clouds: readonly Program[]
  /** Undefined where a server was given. */
  readonly rabbit: RabbitServer | undefined
  readonly postgres: PrivateServer | undefined
  readonly mqtt: { host: string; port: number; caFile: string }
  /** Direct, not over the link; as a user who may do everything. */
  readonly amqpUrl: string
  readonly databaseUrl: string
  readonly edgeDataDir: string
  readonly edgeOps: string
  readonly cloudOps: readonly string[]
  /** The compiled `tidegate`, for commands to be run against this stack. */
  readonly cli: string
  readonly configFiles: { edge: string; clouds: readonly string[] }
  readonly logs: { edge: string; clouds: readonly string[] }
  /** Stops everything it started, programs before servers. Idempotent. */
  close(): Promise<void>
}

const schemasFolder = fileURLToPath(
  new URL(inSource() ? '../../schemas' : '../../../schemas', import.meta.url),
)
const cli = fileURLToPath(
  new URL(inSource() ? '../../dist/cli/tidegate.js' : '../../cli/tidegate.js', import.meta.url),
)

/** Tests import the TypeScript source; what they start is compiled all the same. */
function inSource(): boolean {
  return import.meta.url.endsWith('.ts')
}

/**
 * Starts PostgreSQL and RabbitMQ where they are not given, then the cloud and the edge, and resolves when all of
 * them are ready for work.
 * @throws TidegateError as the servers and certificates do, and `PROGRAM_START_FAILED`
 */
export async function startStack(options: StackOptions): Promise<Stack> {
  const { env, say, signal, gateway = gatewayDefault, partitions = 4 } = options
  const dir = resolve(options.dir)
  mkdirSync(dir, { recursive: true })
  const scope = createScope()
  const timed = stopwatch(say)
  try {
    const { pki, rabbit, postgres } = await startServers({ ...options, dir, gateway, timed }, scope)

    const broker =
      rabbit.how === 'given' ? givenBroker(rabbit.url) : privateBroker(rabbit.server, pki, gateway)
    const link =
      broker.linkTo &&
      scope.own(await startLink({ target: broker.linkTo, port: await keepPort(dir, 'link') }))
    const databaseUrl = postgres.how === 'given' ? postgres.url : postgres.server.url

    const clouds: Program[] = []
    const cloudOps: string[] = []
    for (let number = 1; number <= (options.clouds ?? 1); number += 1) {
      const opsPort = await keepPort(dir, `cloud-${number}-ops`)
      cloudOps.push(`http://127.0.0.1:${opsPort}`)
      clouds.push(
        program(`cloud-${number}`, opsPort, {
          ...cloudConfig({
            instance: `cloud-${number}`,
            brokerUrl: broker.cloudUrl,
            brokerTls: broker.cloudTls,
            databaseUrl,
            partitions,
            opsPort,
            schemasFolder,
          }),
        }),
      )
    }
    const programs = [...clouds]
    scope.own({ close: async () => void (await Promise.all(programs.map((one) => one.stop()))) })
    await Promise.all(clouds.map((cloud) => cloud.start(signal)))
    timed(`cloud ready: ${clouds.length === 1 ? 'one process' : `${clouds.length} processes`}`)

    // Chosen at the last moment: another stack that starts now may want the same.
    const mqttPort =
      options.mqttPort !== undefined && (await isFree(options.mqttPort))
        ? options.mqttPort
        : await keepPort(dir, 'mqtt')
    const edgeOpsPort = await keepPort(dir, 'edge-ops')
    const edgeDataDir = join(dir, 'edge')
    const ownDataDir = options.edgeConfig?.['dataDir']
    const edge = program('edge', edgeOpsPort, {
      ...edgeConfig({
        gateway,
        dataDir: edgeDataDir,
        mqttPort,
        mqttTls: { ca: pki.caFile, cert: pki.edge.certFile, key: pki.edge.keyFile },
        uplinkUrl: link ? overLink(broker.uplinkUrl, link) : broker.uplinkUrl,
        uplinkTls: broker.uplinkTls,
        partitions,
        opsPort: edgeOpsPort,
        schemasFolder,
      }),
    })
    programs.push(edge)
    await edge.start(signal)
    timed(`edge ready on 127.0.0.1:${mqttPort} (MQTT over mutual TLS)`)

    return {
      dir,
      gateway,
      partitions,
      pki,
      link,
      edge,
      clouds,
      rabbit: rabbit.how === 'private' ? rabbit.server : undefined,
      postgres: postgres.how === 'private' ? postgres.server : undefined,
      mqtt: { host: '127.0.0.1', port: mqttPort, caFile: pki.caFile },
      amqpUrl: rabbit.how === 'private' ? rabbit.server.urlFor('cloud') : rabbit.url,
      databaseUrl,
      edgeDataDir: typeof ownDataDir === 'string' ? ownDataDir : edgeDataDir,
      edgeOps: `http://127.0.0.1:${edgeOpsPort}`,
      cloudOps,
      cli,
      configFiles: { edge: configFile('edge'), clouds: clouds.map(({ name }) => configFile(name)) },
      logs: { edge: logFile('edge'), clouds: clouds.map(({ name }) => logFile(name)) },
      close: () => scope.close(),
    }
  } catch (error) {
    await scope.close()
    throw error
  }

  function logFile(name: string): string {
    return join(dir, 'logs', `${name}.log`)
  }

  function configFile(name: string): string {
    return join(dir, `${name}.yaml`)
  }

  function program(name: string, opsPort: number, generated: Tree): Program {
    const side = name === 'edge' ? 'edge' : 'cloud'
    const own = (side === 'edge' ? options.edgeConfig : options.cloudConfig) ?? {}
    writeFileSync(configFile(name), stringify(merge(generated, own)), { mode: 0o600 })
    return createProgram({
      name,
      args: [cli, side, '--config', configFile(name)],
      env,
      logFile: logFile(name),
      readyUrl: `http://127.0.0.1:${opsPort}/readyz`,
      ...(options.onCrash && { onCrash: options.onCrash }),
    })
  }
}

function stopwatch(say: (line: string) => void): (line: string) => void {
  const startedAtMs = systemClock.monotonicMs()
  return (line) => say(`${line} (${((systemClock.monotonicMs() - startedAtMs) / 1000).toFixed(1)} s)`)
}
