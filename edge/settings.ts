import { amqpWay } from '../src/amqp/address.ts'
import type { Way } from '../src/settings/in-clear.ts'
import { join } from 'node:path'
import type { AdmissionOptions } from './admission/admission.ts'
import type { DecodeBounds } from './admission/codecs/decode.ts'
import { createProfiles } from './admission/profiles.ts'
import type { EdgeConfig } from './config.ts'
import { listenersOf } from './listeners.ts'
import type { BrokerOptions } from './mqtt/broker-aedes.ts'
import type { TrustFiles } from './mqtt/trust/files.ts'
import type { TrustOptions } from './mqtt/trust/trust.ts'
import type { OpsOptions } from './ops/ops.ts'
import type { SchemasOptions } from './schemas/schemas.ts'
import { schemaOrigin } from './schemas/settings.ts'
import type { OutboxOptions } from './outbox/options.ts'
import type { LevelFolderOptions } from './store/store-level.ts'
import type { RabbitExchangeOptions } from './uplink/exchange-rabbit.ts'
import type { ForwarderOptions } from './uplink/forwarder.ts'

/** The configuration in the words of each part. Nothing is decided here. */

export function admissionSettings({
  events,
  profiles,
}: EdgeConfig): Omit<AdmissionOptions, 'checkSchema' | 'clock' | 'random'> {
  return {
    types: events.types,
    profiles,
    highPerDevice: events.highPerDevice,
    payloadBytesMax: events.payloadBytesMax,
    quarantineBytesMax: events.quarantineBytesMax,
    clockSkewMaxMs: events.clockSkewMax,
    timeAgeMaxMs: events.timeAgeMax,
  }
}

export function schemasSettings({
  dataDir,
  routes,
  schemas,
}: EdgeConfig): Pick<SchemasOptions, 'origin' | 'routes' | 'formats' | 'unknownTypes'> {
  const { formats, unknownTypes } = schemas
  return { origin: schemaOrigin(schemas, dataDir), routes, formats, unknownTypes }
}

/** What a payload is as JSON is held to what a payload in JSON may be. */
export function decodeBounds({ events }: Pick<EdgeConfig, 'events'>): DecodeBounds {
  return { textBytesMax: events.payloadBytesMax }
}

export function outboxSettings({
  outbox,
  uplink,
}: EdgeConfig): Pick<OutboxOptions, 'quota' | 'lanes' | 'dedup' | 'batchEventsMax' | 'waitingMax'> {
  const { eventsPerSecond, bytesPerSecond, inOrderBelow } = uplink.backlog
  return {
    quota: {
      eventsMax: outbox.eventsMax,
      bytesMax: outbox.bytesMax,
      deviceShare: outbox.deviceShare,
      deviceMinimum: outbox.deviceMinimum,
      reservedShare: outbox.reservedShare,
      diskFreeBytesMin: outbox.diskFreeMin,
      full: outbox.full,
    },
    lanes: {
      catchUp: uplink.catchUp,
      inOrderBelow,
      ...(eventsPerSecond === undefined ? {} : { eventsPerSecond }),
      ...(bytesPerSecond === undefined ? {} : { bytesPerSecond }),
    },
    dedup: { ageMs: outbox.dedup.age, count: outbox.dedup.count },
    batchEventsMax: outbox.batchEventsMax,
    waitingMax: outbox.waitingMax,
  }
}

export function outboxFolderSettings({
  dataDir,
  outbox,
}: EdgeConfig): Pick<LevelFolderOptions, 'folder' | 'reserveBytes'> {
  return { folder: join(dataDir, 'outbox'), reserveBytes: outbox.reserve }
}

type ExchangeSettings = Pick<
  RabbitExchangeOptions,
  | 'url'
  | 'auth'
  | 'passwordFile'
  | 'exchange'
  | 'partitions'
  | 'compress'
  | 'connectTimeoutMs'
  | 'heartbeatS'
  | 'reconnect'
>

export function exchangeSettings({ uplink }: EdgeConfig): ExchangeSettings {
  return {
    url: uplink.url,
    auth: uplink.auth,
    passwordFile: uplink.passwordFile,
    exchange: uplink.exchange,
    partitions: uplink.partitions,
    compress: uplink.batch.compress,
    connectTimeoutMs: uplink.connectTimeout,
    heartbeatS: Math.max(1, Math.ceil(uplink.heartbeat / 1000)),
    reconnect: { delayMsMin: uplink.reconnect.min, delayMsMax: uplink.reconnect.max },
  }
}

export function uplinkWay({ uplink: { url, tls, insecure } }: EdgeConfig): Way {
  return { key: 'uplink.url', insecure, ...amqpWay(url, tls !== undefined) }
}

export function forwarderSettings({
  uplink,
}: EdgeConfig): Pick<ForwarderOptions, 'batch' | 'windowEvents' | 'confirmTimeoutMs' | 'retry'> {
  const { partitions, batch } = uplink
  return {
    batch: { eventsMax: batch.eventsMax, bytesMax: batch.bytesMax, partitions },
    windowEvents: uplink.windowEvents,
    confirmTimeoutMs: uplink.confirmTimeout,
    retry: { delayMsMin: uplink.reconnect.min, delayMsMax: uplink.reconnect.max },
  }
}

type OpsSettings = Pick<
  OpsOptions,
  'host' | 'hosts' | 'port' | 'stallAfterMs' | 'reconnectMsMax' | 'offlineMaxMs'
>

export function opsSettings({ ops, uplink }: EdgeConfig): OpsSettings {
  return {
    host: ops.host,
    hosts: ops.hosts,
    port: ops.port,
    stallAfterMs: ops.stallAfter,
    reconnectMsMax: uplink.reconnect.max,
    offlineMaxMs: uplink.offlineMax,
  }
}

/** In the words of the file: `crl` and `denied` may be missing. */
export function trustSettings(config: EdgeConfig): Pick<TrustOptions, 'files' | 'stale'> {
  return { files: trustFiles(config), stale: config.mqtt.tls.crlStale }
}

/** Lists that came down are gone by for as long as they are asked for. */
export function trustFiles({ dataDir, mqtt: { tls, users }, uplink }: EdgeConfig): TrustFiles {
  const { crlStale: _, ...files } = tls
  return { ...files, users, published: uplink.lists ? join(dataDir, 'lists.json') : undefined }
}

type BrokerSettings = Omit<
  BrokerOptions,
  'trust' | 'rules' | 'ingest' | 'observer' | 'clock' | 'random' | 'log'
>

export function brokerSettings(config: EdgeConfig): BrokerSettings {
  const { dataDir, mqtt, profiles } = config
  const profileOf = createProfiles(profiles)
  return {
    sessionsFolder: join(dataDir, 'sessions'),
    listeners: listenersOf(config),
    connectionsMax: mqtt.connectionsMax,
    connectionsPerDeviceMax: mqtt.connectionsPerDeviceMax,
    handshakesMax: mqtt.handshakes.max,
    handshakeTimeoutMs: mqtt.handshakeTimeout,
    packetBytesMax: mqtt.packetBytesMax,
    inFlightMax: mqtt.inFlightMax,
    inFlightBytesMax: mqtt.inFlightBytesMax,
    inFlightBytesPerDeviceMax: mqtt.inFlightBytesPerDeviceMax,
    ratesOf: (deviceId) => ({ ...mqtt.limits, ...profileOf(deviceId)?.limits }),
    sessionLimits: mqtt.sessions,
  }
}
