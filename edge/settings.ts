import type { AdmissionOptions } from './admission/admission.ts'
import type { BrokerOptions } from './mqtt/broker-aedes.ts'
import type { EdgeConfig } from './config.ts'
import type { RabbitExchangeOptions } from './uplink/exchange-rabbit.ts'
import type { OutboxOptions } from './outbox/options.ts'

/** The configuration in the words of each part. Nothing is decided here. */

export function admissionSettings({
  events,
  schemas,
}: EdgeConfig): Omit<AdmissionOptions, 'schemas' | 'clock' | 'random'> {
  return {
    unknownTypes: schemas.unknownTypes,
    types: events.types,
    payloadBytesMax: events.payloadBytesMax,
    quarantineBytesMax: events.quarantineBytesMax,
    clockSkewMaxMs: events.clockSkewMax,
    timeAgeMaxMs: events.timeAgeMax,
  }
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

type ExchangeSettings = Pick<
  RabbitExchangeOptions,
  'url' | 'exchange' | 'partitions' | 'connectTimeoutMs' | 'heartbeatS' | 'reconnect'
>

export function exchangeSettings({ uplink }: EdgeConfig): ExchangeSettings {
  return {
    url: uplink.url,
    exchange: uplink.exchange,
    partitions: uplink.partitions,
    connectTimeoutMs: uplink.connectTimeout,
    heartbeatS: Math.max(1, Math.ceil(uplink.heartbeat / 1000)),
    reconnect: { delayMsMin: uplink.reconnect.min, delayMsMax: uplink.reconnect.max },
  }
}

type BrokerSettings = Omit<
  BrokerOptions,
  'tls' | 'sessionsFolder' | 'rules' | 'routes' | 'admit' | 'outbox' | 'observer' | 'clock' | 'random' | 'log'
>

export function brokerSettings({ mqtt }: EdgeConfig): BrokerSettings {
  return {
    host: mqtt.host,
    port: mqtt.port,
    connectionsMax: mqtt.connectionsMax,
    connectionsPerDeviceMax: mqtt.connectionsPerDeviceMax,
    handshakeTimeoutMs: mqtt.handshakeTimeout,
    packetBytesMax: mqtt.packetBytesMax,
    inFlightMax: mqtt.inFlightMax,
    inFlightBytesMax: mqtt.inFlightBytesMax,
    sessionLimits: mqtt.sessions,
  }
}
