import { loadSchemas } from '../src/contract/schema-registry.ts'
import {
  checkAll,
  isLoopback,
  type Checked,
  type Look,
  seenAddress,
  seenClientTls,
  seenPort,
  type Seen,
} from '../src/settings/check.ts'
import type { CloudConfig } from './config.ts'
import { dialledBy, refuseFaultyUrl } from './database/url-postgres.ts'
import { loadConsumers } from './load-consumers.ts'
import { consumerSettings } from './settings.ts'
import { loadBrokerTls } from './tls.ts'

/** Everything that can be looked at without starting a cloud; consumer modules are loaded, nothing is connected to. */
export async function checkCloud(config: CloudConfig): Promise<Checked> {
  const { instance, broker, database, schemas, ops } = config
  const { folder } = schemas
  const { management } = broker
  const looks: Look[] = [
    { what: 'instance', look: () => ({ text: instance }) },
    { what: 'broker.tls', look: () => seenClientTls(broker.url, loadBrokerTls(config)) },
    ...(folder === undefined ? [] : [{ what: 'schemas.folder', look: () => seenSchemas(folder) }]),
    { what: 'consumers', look: () => seenConsumers(config) },
    { what: 'ops.port', look: () => seenPort(ops.host, ops.port, 'the ops endpoint') },
    { what: 'broker.url', look: () => seenAddress(broker.url, { needed: true }) },
    ...(management === undefined
      ? []
      : [{ what: 'broker.management', look: () => seenAddress(management, { needed: true }) }]),
    { what: 'database.url', look: () => seenDatabase(database.url) },
  ]
  return checkAll(looks)
}

async function seenDatabase(url: string): Promise<Seen> {
  refuseFaultyUrl(url)
  const { host, isSocket, encrypts } = dialledBy(url)
  if (isSocket) return { text: `a socket of this machine, in ${host}` }
  const address = `postgres://${host.includes(':') ? `[${host}]` : host}`
  const seen = await seenAddress(address, { needed: true })
  const inClear = !encrypts && !isLoopback(new URL(address).hostname)
  return inClear ? { text: `${seen.text}, in clear: sslmode=verify-full encrypts it`, warning: true } : seen
}

function seenSchemas(folder: string): Seen {
  const { types } = loadSchemas(folder)
  return { text: `${types.length} event types` }
}

async function seenConsumers(config: CloudConfig): Promise<Seen> {
  const consumers = await loadConsumers(consumerSettings(config))
  return { text: consumers.map(({ group }) => group).join(', ') }
}
