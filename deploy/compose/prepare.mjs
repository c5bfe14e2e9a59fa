#!/usr/bin/env node
// Makes what the containers need before they start, each service's part in a volume of its own:
//
//     node prepare.mjs /volumes      pki/ edge/ edge-data/ cloud/ migrate/ rabbitmq/ postgres/
//
// Safe to repeat: certificates and passwords that are there are kept.
import { randomBytes } from 'node:crypto'
import {
  chmodSync,
  chownSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  readFileSync,
  writeFileSync,
} from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { createAuthority } from '../../dist/certs/authority.js'
import { issueDevelopmentPki } from '../../dist/certs/development.js'
import { issueCertificate } from '../../dist/certs/issue.js'
import { gatewayRights, renderDefinitions, renderPlugins } from '../../dist/dev/servers/rabbit/files.js'

const [root] = process.argv.slice(2)
if (root === undefined) throw new Error('usage: prepare.mjs <folder of the volumes>')
const here = dirname(fileURLToPath(import.meta.url))
const volume = (name) => {
  const folder = join(root, name)
  mkdirSync(folder, { recursive: true })
  return folder
}

/** The user `node` of our image, who reads the edge's and the cloud's files; the others' entrypoints are root. */
const node = { uid: 1000, gid: 1000 }
const isRoot = process.getuid() === 0

const pki = volume('pki')
const devices = Array.from(
  { length: Number(process.env.DEVICES ?? 10) },
  (_, index) => `sensor-${String(index + 1).padStart(3, '0')}`,
)
const issued = await issueDevelopmentPki(pki, { devices, gateway: 'gateway-1', hostnames: ['edge'] })
// Whoever signs devices could sign a gateway: what comes to RabbitMQ and PostgreSQL has a CA of its own.
const infrastructure = await createAuthority(join(pki, 'infrastructure'))
const outDir = infrastructure.dir
const gateway = await issueCertificate(infrastructure, {
  commonName: 'gateway-1',
  kind: 'client',
  role: 'gateway',
  outDir,
})
const consumer = await issueCertificate(infrastructure, {
  commonName: 'cloud',
  kind: 'client',
  role: 'cloud',
  outDir,
})
const broker = await issueCertificate(infrastructure, {
  commonName: 'rabbitmq',
  kind: 'server',
  dnsNames: ['rabbitmq', 'localhost'],
  ipAddresses: ['127.0.0.1'],
  outDir,
})
const database = await issueCertificate(infrastructure, {
  commonName: 'postgres',
  kind: 'server',
  dnsNames: ['postgres', 'localhost'],
  ipAddresses: ['127.0.0.1'],
  outDir,
})
const passwords = keptPasswords(join(pki, 'passwords.json'), [
  'gateway',
  'cloud',
  'admin',
  'database',
  'migrator',
  'postgres',
])

const edge = volume('edge')
give(edge, [issued.edge, gateway], node)
copy(issued.caFile, join(edge, 'ca.crt'), node)
put(edge, 'edge.yaml', template('edge.yaml'), node)
own(volume('edge-data'), 0o700, node)

const cloud = volume('cloud')
give(cloud, [consumer], node)
put(cloud, 'cloud.yaml', template('cloud.yaml'), node)
put(cloud, 'database.password', passwords.database, node)

const migrate = volume('migrate')
give(migrate, [], node)
put(migrate, 'migrate.yaml', template('migrate.yaml'), node)
put(migrate, 'database.password', passwords.migrator, node)

// RabbitMQ and PostgreSQL run as users of their own: their secrecy is that nobody else mounts their volume.
const rabbitmq = volume('rabbitmq')
give(rabbitmq, [broker])
put(rabbitmq, 'rabbitmq.conf', template('rabbitmq.conf'))
put(rabbitmq, 'enabled_plugins', renderPlugins(['rabbitmq_management', 'rabbitmq_auth_mechanism_ssl']))
put(rabbitmq, 'definitions.json', renderDefinitions(users(), ['/']))

const postgres = volume('postgres')
give(postgres, [database])
// PostgreSQL takes a key of its own user only, or of root and closed to others; in its image that is user 999.
own(join(postgres, 'postgres.key'), 0o600, { uid: 999, gid: 999 })
put(postgres, 'postgres.password', passwords.postgres)
put(postgres, 'cloud.password', passwords.database)
put(postgres, 'migrator.password', passwords.migrator)

process.stdout.write(`prepared ${root}: ${devices.length} devices, certificates in ${pki}\n`)

/** RabbitMQ's users, each with no more rights than it needs. */
function users() {
  // Queues and exchanges of the cloud: groups' partitions, rungs and dead letters, and what gateways publish to.
  const own = String.raw`tidegate\.(events|unroutable)|[a-z][a-z0-9-]*\.([0-9]{2}(\.v[0-9]+)?|dead(\.v[0-9]+)?|retry\.[0-9]+(ms|s|m))`
  return [
    {
      name: 'gateway-1',
      password: passwords.gateway,
      ...gatewayRights('gateway-1', 16),
    },
    {
      name: 'cloud',
      password: passwords.cloud,
      permissions: {
        configure: `^(${own})$`,
        write: String.raw`^(${own}|amq\.default)$`,
        read: `^(${own})$`,
      },
    },
    {
      name: 'admin',
      password: passwords.admin,
      permissions: { configure: '.*', write: '.*', read: '.*' },
      tags: ['administrator'],
    },
  ]
}

function keptPasswords(file, names) {
  const kept = existsSync(file) ? JSON.parse(readFileSync(file, 'utf8')) : {}
  const all = Object.fromEntries(
    names.map((name) => [name, kept[name] ?? randomBytes(18).toString('base64url')]),
  )
  writeFileSync(file, JSON.stringify(all, null, 2), { mode: 0o600 })
  return all
}

function template(name) {
  return readFileSync(join(here, name), 'utf8')
}

/** The certificate of the CA for infrastructure, and certificates with their keys. */
function give(folder, certificates, user) {
  own(folder, 0o755, user)
  copy(infrastructure.certFile, join(folder, 'infrastructure.crt'), user)
  for (const { commonName, certFile, keyFile } of certificates) {
    copy(certFile, join(folder, `${commonName}.crt`), user)
    copy(keyFile, join(folder, `${commonName}.key`), user)
  }
}

function copy(from, to, user) {
  copyFileSync(from, to)
  own(to, user ? 0o600 : 0o644, user)
}

function put(folder, name, text, user) {
  const file = join(folder, name)
  writeFileSync(file, text)
  own(file, user ? 0o600 : 0o644, user)
}

function own(path, mode, user) {
  chmodSync(path, mode)
  if (user && isRoot) chownSync(path, user.uid, user.gid)
}
