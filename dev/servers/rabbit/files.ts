import { createHash, randomBytes } from 'node:crypto'

export interface RabbitUser {
  name: string
  password: string
  /** Regular expressions over resource names, in every virtual host. Empty: nothing. */
  permissions: { configure: string; write: string; read: string }
  tags?: readonly string[]
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
    users: users.map(({ name, password, tags }) => ({
      name,
      password_hash: hashPassword(password),
      hashing_algorithm: 'rabbit_password_hashing_sha256',
      tags: tags ?? [],
    })),
    vhosts: vhosts.map((name) => ({ name })),
    permissions: users.flatMap(({ name, permissions }) =>
      vhosts.map((vhost) => ({ user: name, vhost, ...permissions })),
    ),
  })
}

/** RabbitMQ's salted hash: base64(salt + SHA-256(salt + password)), four bytes of salt ("Passwords" guide). */
export function hashPassword(password: string, salt: Buffer = randomBytes(4)): string {
  const digest = createHash('sha256').update(salt).update(password, 'utf8').digest()
  return Buffer.concat([salt, digest]).toString('base64')
}

/** The enabled_plugins file: an Erlang list of atoms. */
export function renderPlugins(plugins: readonly string[]): string {
  return `[${plugins.join(',')}].\n`
}
