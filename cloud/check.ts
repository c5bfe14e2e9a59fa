import { codeOf } from '../src/errors.ts'
import type { Formats } from '../src/schemas/formats.ts'
import { loadSchemas, usableSchemaFolder } from '../src/schemas/folder.ts'
import { noSchemas, registryOf } from '../src/schemas/registry.ts'
import { ambiguitiesIn, ambiguityHint, tellingOf } from '../src/schemas/upcast/ambiguous.ts'
import { loadUpcasts } from '../src/schemas/upcast/folder.ts'
import {
  checkAll,
  type Checked,
  type Look,
  seenAddress,
  seenClientTls,
  seenPort,
  type Seen,
} from '../src/settings/check.ts'
import { exposureOf, refuseInClear } from '../src/settings/in-clear.ts'
import { withPassword } from '../src/settings/password-file.ts'
import { systemClock } from '../src/clock.ts'
import { loadApiFiles } from './api/api.ts'
import { refuseUnsafe } from './api/socket.ts'
import type { CloudConfig } from './config.ts'
import { refuseFaultyUrl } from './database/url-postgres.ts'
import { loadConsumers } from './load-consumers.ts'
import { loadProjections, missedRollups } from './load-projections.ts'
import { refuseUnknownWanted, wantingOf } from './reading/schemas.ts'
import { brokerWay, consumerSettings, databaseWay, managementWay } from './settings.ts'
import { loadBrokerTls } from './tls.ts'

/** Everything that can be looked at without starting a cloud; consumer modules are loaded, nothing is connected to. */
export async function checkCloud(config: CloudConfig): Promise<Checked> {
  const { instance, broker, database, schemas, ops } = config
  const { folder } = schemas
  const { management } = broker
  const looks: Look[] = [
    { what: 'instance', look: () => ({ text: instance }) },
    { what: 'broker.tls', look: () => seenClientTls(brokerWay(broker), loadBrokerTls(config)) },
    ...(folder === undefined || schemas.registry === 'database'
      ? []
      : [{ what: 'schemas.folder', look: () => seenSchemas(folder, config.schemas.formats) }]),
    ...(schemas.registry === 'folder' ? [] : [{ what: 'schemas.registry', look: () => seenRegistry }]),
    { what: 'consumers', look: () => seenConsumers(config) },
    { what: 'projections', look: () => seenProjections(config) },
    { what: 'api', look: () => seenApi(config) },
    { what: 'ops.port', look: () => seenPort(ops.host, ops.port, 'the ops endpoint') },
    {
      what: 'broker.url',
      look: () => seenAddress(withPassword(broker.url, broker.passwordFile), { needed: true }),
    },
    ...(management === undefined
      ? []
      : [{ what: 'broker.management', look: () => seenManagement(management, broker) }]),
    { what: 'database.url', look: () => seenDatabase(database) },
  ]
  return checkAll(looks)
}

async function seenApi({ api }: CloudConfig): Promise<Seen> {
  loadApiFiles(api, systemClock)
  if (api.socket !== undefined) refuseUnsafe(api.socket)
  const socket = api.socket === undefined ? [] : [`the socket ${api.socket}`]
  if (api.port === undefined) return { text: socket[0] ?? 'off: neither api.port nor api.socket is set' }
  const { text, ...seen } = await seenPort(api.host, api.port, 'the API')
  return { ...seen, text: [...socket, text].join(', ') }
}

async function seenManagement(url: string, broker: CloudConfig['broker']): Promise<Seen> {
  refuseInClear(managementWay(url, broker))
  return seenAddress(url, { needed: true })
}

async function seenDatabase(database: CloudConfig['database']): Promise<Seen> {
  const { url, passwordFile } = database
  refuseFaultyUrl(url)
  withPassword(url, passwordFile)
  const way = databaseWay(database)
  const { host } = way
  if (host.startsWith('/')) return { text: `a socket of this machine, in ${host}` }
  refuseInClear(way)
  const address = `postgres://${host.includes(':') ? `[${host}]` : host}`
  const seen = await seenAddress(address, { needed: true })
  const exposure = exposureOf(way)
  return exposure === undefined ? seen : { text: `${seen.text}; ${exposure}`, warning: true }
}

/** Nothing is connected to here. */
const seenRegistry: Seen = {
  text: 'in the database: read at the start, and versions that are asked for with it',
}

async function seenSchemas(folder: string, formats: Formats): Promise<Seen> {
  const { source, types } = usableSchemaFolder(folder, formats)
  const registry = registryOf(types)
  await loadUpcasts(source, registry)
  const told = tellingOf(ambiguitiesIn(source, registry))
  const text = [`${registry.types.length} event types`, ...told].join('; ')
  return told.length === 0 ? { text } : { text: `${text}; ${ambiguityHint}`, warning: true }
}

/** A fault of the folder itself has been told there. */
function refuseUnknown(config: CloudConfig, wanting: ReturnType<typeof wantingOf>): void {
  const { folder, formats, registry } = config.schemas
  if (registry === 'database') return
  try {
    refuseUnknownWanted(wanting, {
      registry: folder === undefined ? noSchemas : loadSchemas(folder, formats),
    })
  } catch (error) {
    if (codeOf(error) !== 'SCHEMA_FOLDER') throw error
  }
}

async function seenConsumers(config: CloudConfig): Promise<Seen> {
  const consumers = await loadConsumers(consumerSettings(config))
  refuseUnknown(config, wantingOf(consumers, []))
  return { text: consumers.map(({ group }) => group).join(', ') }
}

async function seenProjections(config: CloudConfig): Promise<Seen> {
  const projections = await loadProjections(config.projections)
  refuseUnknown(config, wantingOf([], projections))
  const listed = projections.map(({ name, version }) => `${name} ${version}`).join(', ') || 'none'
  const missed = missedRollups(config)
  return missed === undefined ? { text: listed } : { text: `${listed}; ${missed.text}`, warning: true }
}
