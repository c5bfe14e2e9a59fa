import { TidegateError } from '../../../src/errors.ts'
import { run, tail } from '../command.ts'
import { locateRabbit } from '../locate.ts'
import { lockFolder } from '../lock.ts'
import { type PrivateServer, startPrivateServer } from '../private-server.ts'
import { amqpAnswers } from '../probe.ts'
import { rabbitInDocker } from './docker.ts'
import type { RabbitSpec } from './files.ts'
import { rabbitInstalled } from './installed.ts'
import type { RabbitPlace, RabbitRequest } from './place.ts'
import { keepPort, makeFolder } from '../state.ts'
import { clearStrays, leashPatienceMs } from '../strays.ts'

export interface RabbitOptions extends RabbitSpec {
  /** The node's own folder; made if missing, reused if it holds data. */
  dir: string
  say: (line: string) => void
  signal?: AbortSignal
  onCrash?: (cause: string) => void
}

export interface RabbitServer extends PrivateServer {
  readonly port: number
  readonly tlsPort: number | undefined
  /** `amqp://user:password@127.0.0.1:port`, with `/vhost` if one is named. */
  urlFor(user: string, vhost?: string): string
  /** `amqps://user:password@localhost:port`. @throws TidegateError `SERVER_WITHOUT_TLS` */
  tlsUrlFor(user: string, vhost?: string): string
  /** Runs rabbitmqctl on this node (1 to 2 s); returns what it printed. @throws TidegateError `SERVER_COMMAND_FAILED` */
  ctl(args: readonly string[], signal?: AbortSignal): Promise<string>
}

/**
 * Starts a RabbitMQ node that shares nothing with any other on the machine: own data, cookie, epmd, ports. It
 * listens on loopback only and ends with this process, however that ends.
 * @throws TidegateError `ALREADY_RUNNING`, `SERVER_UNOBTAINABLE`, `SERVER_INSTALL_FAILED`, `SERVER_START_FAILED`
 */
export async function startRabbit(options: RabbitOptions): Promise<RabbitServer> {
  const dir = makeFolder(options.dir, 0o700)
  const lock = lockFolder(dir)
  try {
    const origin = await locateRabbit(options)
    await clearStrays(dir, leashPatienceMs, options.signal)
    const port = await keepPort(dir, 'amqp')
    const tlsPort = options.tls ? await keepPort(dir, 'amqps') : undefined
    const request = { dir, port, tlsPort, spec: options }
    const place =
      origin.how === 'docker'
        ? await rabbitInDocker(request, options)
        : await rabbitInstalled(origin.bin, request)
    const server = await startPrivateServer(
      {
        title: 'RabbitMQ',
        dir,
        lock,
        plan: place.plan,
        isReady: async (text) => /completed with \d+ plugins/.test(text) && (await amqpAnswers(port)),
        onCrash: options.onCrash,
        ...(place.pidFile !== undefined && { pidFile: place.pidFile }),
      },
      options.signal,
    )
    return describe(server, place, request)
  } catch (error) {
    lock.release()
    throw error
  }
}

function describe(
  server: PrivateServer,
  place: RabbitPlace,
  { port, tlsPort, spec }: RabbitRequest,
): RabbitServer {
  const url = (scheme: string, host: string, name: string, vhost?: string): string => {
    const user = spec.users.find((user) => user.name === name)
    if (!user) throw new Error(`no RabbitMQ user ${name} was asked for`)
    const path = vhost === undefined ? '' : `/${encodeURIComponent(vhost)}`
    return `${scheme}://${encodeURIComponent(name)}:${encodeURIComponent(user.password)}@${host}${path}`
  }
  return Object.assign(server, {
    port,
    tlsPort,
    urlFor: (user: string, vhost?: string) => url('amqp', `127.0.0.1:${port}`, user, vhost),
    tlsUrlFor(user: string, vhost?: string) {
      if (tlsPort === undefined) throw withoutTls()
      return url('amqps', `localhost:${tlsPort}`, user, vhost)
    },
    async ctl(args: readonly string[], signal?: AbortSignal) {
      const outcome = await run(place.ctl(args), { ...(signal && { signal }), timeoutMs: 60_000 })
      if (outcome.code !== 0) throw commandFailed(args, tail(outcome.stderr || outcome.stdout))
      return outcome.stdout
    },
  })
}

function withoutTls(): TidegateError {
  return new TidegateError('SERVER_WITHOUT_TLS', {
    message: 'This RabbitMQ has no AMQPS listener.',
    retryable: false,
    hint: 'Start it with the "tls" option, or use urlFor().',
  })
}

function commandFailed(args: readonly string[], printed: string): TidegateError {
  return new TidegateError('SERVER_COMMAND_FAILED', {
    message: `rabbitmqctl ${args.join(' ')} failed: ${printed}`,
    retryable: true,
    hint: 'Check that the server runs and that the command is spelt as rabbitmqctl(8) says.',
  })
}
