import { mkdirSync } from 'node:fs'
import { resolve } from 'node:path'
import type { DevelopmentPki } from '../../certs/development.ts'
import { systemClock } from '../../src/clock.ts'
import type { TidegateError } from '../../src/errors.ts'
import { createScope, type Scope } from '../../src/lifecycle.ts'
import type { RabbitServer } from '../servers/obtain.ts'
import type { PrivateServer } from '../servers/private-server.ts'
import { keepPort } from '../servers/state.ts'
import { givenBroker, privateBroker } from './broker-way.ts'
import { gatewayDefault, type Tree } from './config.ts'
import { prepareDatabase } from './database-postgres.ts'
import { startLink, type Link } from './link.ts'
import type { Program } from './processes.ts'
import {
  cli,
  configFileOf,
  describeCloud,
  describeEdge,
  logFileOf,
  setupFiles,
  type DescribedCloud,
  type ProgramsOptions,
} from './programs.ts'
import { startServers, type Servers } from './servers.ts'

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
  /** As a superuser, where the server is ours; the cloud has a user of its own. */
  readonly databaseUrl: string
  readonly edgeDataDir: string
  readonly edgeOps: string
  readonly cloudOps: readonly string[]
  /** The compiled `tidegate`, for commands to be run against this stack. */
  readonly cli: string
  /** Whether the first cloud can be asked for what failed: the path of the folder may be too long for a socket. */
  readonly hasApi: boolean
  readonly configFiles: { edge: string; clouds: readonly string[] }
  readonly logs: { edge: string; clouds: readonly string[] }
  /** Stops everything it started, programs before servers. Idempotent. */
  close(): Promise<void>
}

/**
 * Starts PostgreSQL and RabbitMQ where they are not given, then the cloud and the edge, and resolves when all of
 * them are ready for work.
 * @throws TidegateError as the servers and certificates do, and `PROGRAM_START_FAILED`
 */
export async function startStack(options: StackOptions): Promise<Stack> {
  const scope = createScope()
  try {
    return await startAll(options, scope)
  } catch (error) {
    await scope.close()
    throw error
  }
}

/** `scope` owns what is started. */
async function startAll(options: StackOptions, scope: Scope): Promise<Stack> {
  const { say, signal, gateway = gatewayDefault, partitions = 4 } = options
  const dir = resolve(options.dir)
  mkdirSync(dir, { recursive: true })
  const timed = stopwatch(say)
  const servers = await startServers({ ...options, dir, gateway, partitions, timed }, scope)
  const { pki, rabbit, postgres } = servers
  const broker = rabbit.how === 'given' ? givenBroker(rabbit.url) : privateBroker(rabbit.server, pki, gateway)
  const link =
    broker.linkTo && scope.own(await startLink({ target: broker.linkTo, port: await keepPort(dir, 'link') }))
  const databaseUrl = postgres.how === 'given' ? postgres.url : postgres.server.url
  const cloudDatabaseUrl = await databaseOf(servers, options.env)
  const known: ProgramsOptions = {
    ...options,
    dir,
    gateway,
    partitions,
    pki,
    broker,
    link,
    databaseUrl: cloudDatabaseUrl,
  }

  const clouds: DescribedCloud[] = []
  for (let number = 1; number <= (options.clouds ?? 1); number += 1)
    clouds.push(await describeCloud(known, number))
  const programs = clouds.map(({ program }) => program)
  scope.own({ close: async () => void (await Promise.all(programs.map((one) => one.stop()))) })
  say('starting the cloud, then the edge …')
  await Promise.all(clouds.map(({ program }) => program.start(signal)))
  timed(`cloud ready: ${clouds.length === 1 ? 'one process' : `${clouds.length} processes`}`)

  const edge = await describeEdge(known, options.mqttPort)
  programs.push(edge.program)
  await edge.program.start(signal)
  timed(`edge ready on 127.0.0.1:${edge.mqttPort} (MQTT over mutual TLS)`)

  const cloudNames = clouds.map(({ program }) => program.name)
  return {
    dir,
    gateway,
    partitions,
    ...handlesOn(servers),
    link,
    edge: edge.program,
    clouds: clouds.map(({ program }) => program),
    mqtt: { host: '127.0.0.1', port: edge.mqttPort, caFile: pki.caFile },
    databaseUrl,
    edgeDataDir: edge.dataDir,
    edgeOps: edge.opsUrl,
    cloudOps: clouds.map(({ opsUrl }) => opsUrl),
    cli,
    hasApi: clouds[0]?.hasApi ?? false,
    configFiles: {
      edge: configFileOf(dir, 'edge'),
      clouds: cloudNames.map((name) => configFileOf(dir, name)),
    },
    logs: { edge: logFileOf(dir, 'edge'), clouds: cloudNames.map((name) => logFileOf(dir, name)) },
    close: () => scope.close(),
  }
}

/** As the cloud's user. A database that was given is as whoever gave it wants it, and the cloud makes its tables. */
async function databaseOf({ postgres, databasePassword }: Servers, env: NodeJS.ProcessEnv): Promise<string> {
  if (postgres.how === 'given') return postgres.url
  return prepareDatabase({ url: postgres.server.url, password: databasePassword, setupFiles, cli, env })
}

function handlesOn({
  pki,
  rabbit,
  postgres,
}: Servers): Pick<Stack, 'pki' | 'rabbit' | 'postgres' | 'amqpUrl'> {
  return {
    pki,
    rabbit: rabbit.how === 'private' ? rabbit.server : undefined,
    postgres: postgres.how === 'private' ? postgres.server : undefined,
    amqpUrl: rabbit.how === 'private' ? rabbit.server.urlFor('cloud') : rabbit.url,
  }
}

function stopwatch(say: (line: string) => void): (line: string) => void {
  const startedAtMs = systemClock.monotonicMs()
  return (line) => say(`${line} (${((systemClock.monotonicMs() - startedAtMs) / 1000).toFixed(1)} s)`)
}
