import { constants } from 'node:fs'
import { access, stat } from 'node:fs/promises'
import { dirname } from 'node:path'
import { codeOf, messageOf } from '../src/errors.ts'
import {
  checkAll,
  type Checked,
  type Look,
  seenAddress,
  seenClientTls,
  seenCertificate,
  seenPort,
  type Seen,
} from '../src/settings/check.ts'
import type { ClientTls } from '../src/settings/client-tls.ts'
import { loadDecoders } from './admission/codecs/route-decoders.ts'
import type { EdgeConfig } from './config.ts'
import { isLoopback } from '../src/listen.ts'
import { inClear, listenersOf, type NamedListener } from './listeners.ts'
import { listenerName } from './mqtt/entrance/gate.ts'
import { loadUsers } from './users/users-file.ts'
import { opennessOf, unwritable } from './data-folder.ts'
import { RevocationListFile } from './mqtt/trust/revocation-lists.ts'
import { loadCasOf, loadDeniedOf, loadPair } from './mqtt/trust/files.ts'
import { seenSchemas } from './schemas/seen.ts'
import { decodeBounds, schemasSettings, uplinkWay } from './settings.ts'
import { checkpointSigner } from './signing.ts'
import { withPassword } from '../src/settings/password-file.ts'
import { developmentCaWarning, loadUplinkTls, loadMqttTrust } from './tls.ts'

/** Everything that can be looked at without starting a gateway; nothing is made, written or connected to. */
export async function checkEdge(config: EdgeConfig, now: Date): Promise<Checked> {
  const { gateway, dataDir, mqtt, uplink, routes, ops } = config
  const { origin } = schemasSettings(config)
  const { crl, denied } = mqtt.tls
  const running = await answers(ops)
  const looks: Look[] = [
    { what: 'gateway', look: () => ({ text: gateway }) },
    { what: 'mqtt.tls', look: () => seenMqttTls(config, now) },
    ...(crl === undefined ? [] : [{ what: 'mqtt.tls.crl', look: () => seenLists(crl, config, now) }]),
    ...(denied === undefined ? [] : [{ what: 'mqtt.tls.denied', look: () => seenDenied(config) }]),
    ...(uplink.lists ? [{ what: 'uplink.lists', look: () => seenPublished(config, now) }] : []),
    { what: 'uplink.tls', look: () => seenClientTls(uplinkWay(config), loadUplinkTls(config, now)) },
    { what: 'checkpoints', look: () => seenSigner(config, now) },
    ...(origin.kind === 'none'
      ? []
      : [
          {
            what: origin.kind === 'folder' ? 'schemas.folder' : 'schemas.snapshot',
            look: () => seenSchemas(schemasSettings(config)),
          },
        ]),
    ...(routes.some(({ format = 'json' }) => format !== 'json')
      ? [{ what: 'routes', look: () => seenDecoders(config) }]
      : []),
    { what: 'dataDir', look: () => seenDataFolder(dataDir) },
    ...(mqtt.users === undefined ? [] : [{ what: 'mqtt.users', look: () => seenUsers(config) }]),
    ...listenersOf(config).map((one) => ({ what: one.key, look: () => seenListener(running, one) })),
    { what: 'ops.port', look: () => seenPortOf(running, ops, 'the ops endpoint') },
    {
      what: 'uplink.url',
      look: () => seenAddress(withPassword(uplink.url, uplink.passwordFile), { needed: false }),
    },
  ]
  return checkAll(looks)
}

function seenMqttTls(config: EdgeConfig, now: Date): Seen {
  const cas = loadCasOf(config.mqtt.tls)
  const tls = loadPair(config.mqtt.tls, cas, now)
  const seen = seenCertificate({ ...tls, warnings: [...tls.warnings, ...cas.warnings] })
  const warning = developmentCaWarning(config, tls)
  return warning === undefined ? seen : { text: `${seen.text}; ${warning}`, warning: true }
}

/** The CAs are taken as they are: what is wrong with them is said of `mqtt.tls`. */
async function seenLists(crl: string, { mqtt: { tls } }: EdgeConfig, now: Date): Promise<Seen> {
  const lists = await new RevocationListFile(crl).read(loadCasOf(tls).authorities)
  const isStale = now.getTime() > lists.nextUpdateMs
  const until = Number.isFinite(lists.nextUpdateMs) ? new Date(lists.nextUpdateMs).toISOString() : 'for ever'
  const said = [
    ...(isStale ? [`out of date, and mqtt.tls.crlStale is ${tls.crlStale}`] : []),
    ...lists.warnings,
  ]
  const text = [`${lists.revoked} revoked, next update ${until}`, ...said].join('; ')
  return said.length === 0 ? { text } : { text, warning: true }
}

function seenDenied({ mqtt: { tls } }: EdgeConfig): Seen {
  const { devices, serials } = loadDeniedOf(tls)
  return { text: `${devices.size} devices and ${serials.size} serial numbers` }
}

/** @throws TidegateError `USERS_*` */
async function seenUsers({ mqtt: { users = '' } }: EdgeConfig): Promise<Seen> {
  const devices = await loadUsers(users)
  const { mode } = await stat(users)
  const text = `${devices.size} devices have a password`
  if ((mode & 0o077) === 0) return { text }
  return { text: `${text}; others may read their hashes: chmod 600 ${users}`, warning: true }
}

/** A fault of the files themselves has been told there. */
async function seenPublished(config: EdgeConfig, now: Date): Promise<Seen> {
  const loaded = await loadMqttTrust(config, now).catch(() => undefined)
  if (loaded?.publishedFault !== undefined)
    return { text: `what is kept cannot be used: ${messageOf(loaded.publishedFault)}`, warning: true }
  const { published } = loaded ?? {}
  if (published === undefined) return { text: 'none has come down yet' }
  return { text: `${published.number}, issued ${new Date(published.issuedMs).toISOString()}` }
}

/** A fault of the uplink's own files has been told there. */
function seenSigner(config: EdgeConfig, now: Date): Seen {
  const signer = checkpointSigner(config, uplinkTlsIfSound(config, now))
  if (signer) return { text: `the ledger is signed, ${signer.algorithm}, by key ${signer.key}` }
  return {
    text: 'the ledger is not signed: there is no key for it in checkpoints.key, nor with a certificate in uplink.tls',
  }
}

function uplinkTlsIfSound(config: EdgeConfig, now: Date): ClientTls | undefined {
  try {
    return loadUplinkTls(config, now)
  } catch {
    return undefined
  }
}

function seenDecoders(config: EdgeConfig): Seen {
  const decoders = [...loadDecoders(config.routes, decodeBounds(config)).values()]
  return { text: `payloads as ${[...new Set(decoders.map(({ format }) => format))].join(', ')}` }
}

/** @throws TidegateError `DATA_FOLDER_UNWRITABLE` */
async function seenDataFolder(folder: string): Promise<Seen> {
  const existing = await nearestExisting(folder)
  try {
    if (!(await stat(existing)).isDirectory()) throw new Error(`${existing} is a file`)
    await access(existing, constants.R_OK | constants.W_OK | constants.X_OK)
  } catch (cause) {
    throw unwritable(folder, cause)
  }
  const openness = await opennessOf(folder)
  if (openness !== undefined) return { text: openness, warning: true }
  return { text: existing === folder ? `${folder} can be written` : `${folder} will be made` }
}

async function nearestExisting(folder: string): Promise<string> {
  try {
    await stat(folder)
    return folder
  } catch (error) {
    if (codeOf(error) !== 'ENOENT' || dirname(folder) === folder) return folder
    return nearestExisting(dirname(folder))
  }
}

async function seenListener(running: boolean, listener: NamedListener): Promise<Seen> {
  const seen = await seenPortOf(running, listener, listenerName(listener))
  if (listener.tls || isLoopback(listener.host)) return seen
  return { text: `${seen.text}; ${inClear(listener)}`, warning: true }
}

async function seenPortOf(
  running: boolean,
  { host, port }: { host: string; port: number },
  what: string,
): Promise<Seen> {
  try {
    return await seenPort(host, port, what)
  } catch (error) {
    if (running && codeOf(error) === 'PORT_TAKEN')
      return { text: `${host}:${port} is in use by the gateway that runs` }
    throw error
  }
}

const answerWithinMs = 1000

/** Whether a gateway runs with this configuration. */
async function answers({ host, port }: EdgeConfig['ops']): Promise<boolean> {
  if (port === 0) return false
  const at = host === '0.0.0.0' || host === '::' ? '127.0.0.1' : host
  try {
    const url = `http://${at.includes(':') ? `[${at}]` : at}:${port}/metrics`
    const response = await fetch(url, { signal: AbortSignal.timeout(answerWithinMs) })
    return (await response.text()).includes('tidegate_edge_ledger_sequence')
  } catch {
    return false
  }
}
