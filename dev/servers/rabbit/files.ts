import { createHash, randomBytes } from 'node:crypto'
import { listsQueue, wire } from '../../../src/contract/wire.ts'

export interface RabbitUser {
  name: string
  password: string
  /** Regular expressions over resource names, in every virtual host. Empty: nothing. */
  permissions: { configure: string; write: string; read: string }
  tags?: readonly string[]
  /** What it may publish to a topic exchange, as a regular expression over routing keys; absent: whatever `permissions` let it. */
  topics?: { exchange: string; write: string }
  /** Connections and channels at a time; absent: no limit. */
  limits?: { connections: number; channels: number }
}

/** Paths of PEM files. The broker demands a client certificate that `caFile` vouches for. */
interface RabbitTls {
  caFile: string
  certFile: string
  keyFile: string
}

/** What the node is to offer. */
export interface RabbitSpec {
  users: readonly RabbitUser[]
  /** Beside `/`. */
  vhosts?: readonly string[]
  /** Opens an AMQPS listener that demands a client certificate. */
  tls?: RabbitTls
  plugins?: readonly string[]
  /** Lines of rabbitmq.conf to append. */
  extraConfig?: string
}

export interface RabbitConfig {
  /** `127.0.0.1:5672`, or a bare port for every interface (inside a container). */
  listen: string
  tls?: { listen: string; files: RabbitTls }
  definitionsFile: string
  logDir?: string
}

/** rabbitmq.conf in the sysctl format of RabbitMQ 3.7 and later. */
export function renderConfig(config: RabbitConfig): string {
  const settings: [string, string][] = [
    ['listeners.tcp.1', config.listen],
    ['load_definitions', config.definitionsFile],
    ['disk_free_limit.absolute', '50MB'],
    // What a cloud reads of one message at the most.
    ['max_message_size', '16777216'],
    ['heartbeat', '30'],
  ]
  if (config.logDir !== undefined) {
    settings.push(['log.dir', config.logDir], ['log.file', 'rabbit.log'], ['log.file.level', 'info'])
  }
  if (config.tls) {
    settings.push(
      ['listeners.ssl.1', config.tls.listen],
      ['ssl_options.cacertfile', config.tls.files.caFile],
      ['ssl_options.certfile', config.tls.files.certFile],
      ['ssl_options.keyfile', config.tls.files.keyFile],
      ['ssl_options.verify', 'verify_peer'],
      ['ssl_options.fail_if_no_peer_cert', 'true'],
      ['ssl_options.versions.1', 'tlsv1.3'],
      ['ssl_options.versions.2', 'tlsv1.2'],
    )
  }
  return settings.map(([key, value]) => `${key} = ${value}\n`).join('')
}

/** What the node imports at every boot. With definitions to load it makes no `guest` user. */
export function renderDefinitions(users: readonly RabbitUser[], vhosts: readonly string[]): string {
  return JSON.stringify({
    users: users.map(({ name, password, tags, limits }) => ({
      name,
      password_hash: hashPassword(password),
      hashing_algorithm: 'rabbit_password_hashing_sha256',
      tags: tags ?? [],
      ...(limits && { limits: { 'max-connections': limits.connections, 'max-channels': limits.channels } }),
    })),
    vhosts: vhosts.map((name) => ({ name })),
    permissions: users.flatMap(({ name, permissions }) =>
      vhosts.map((vhost) => ({ user: name, vhost, ...permissions })),
    ),
    topic_permissions: users.flatMap(({ name, topics }) =>
      topics === undefined ? [] : vhosts.map((vhost) => ({ user: name, vhost, ...topics, read: '^$' })),
    ),
  })
}

/** RabbitMQ's salted hash: base64(salt + SHA-256(salt + password)), four bytes of salt ("Passwords" guide). */
export function hashPassword(password: string, salt: Buffer = randomBytes(4)): string {
  const digest = createHash('sha256').update(salt).update(password, 'utf8').digest()
  return Buffer.concat([salt, digest]).toString('base64')
}

/** A gateway: it writes to the exchange of all, with the keys that there are, may read the lists for it, and can do nothing else. */
export function gatewayRights(
  name: string,
  partitions: number,
): Pick<RabbitUser, 'permissions' | 'topics' | 'limits'> {
  const numbers = Array.from({ length: partitions }, (_, number) => String(number).padStart(2, '0'))
  const exact = exactly(wire.exchange)
  return {
    permissions: { configure: '^$', write: `^${exact}$`, read: `^${exactly(listsQueue(name))}$` },
    topics: { exchange: wire.exchange, write: `^(${numbers.join('|')})\\.` },
    // One a session; those that a broken link has left are there until their heartbeats end.
    limits: { connections: 8, channels: 16 },
  }
}

function exactly(name: string): string {
  return name.replaceAll('.', String.raw`\.`)
}

/** The enabled_plugins file: an Erlang list of atoms. */
export function renderPlugins(plugins: readonly string[]): string {
  return `[${plugins.join(',')}].\n`
}
