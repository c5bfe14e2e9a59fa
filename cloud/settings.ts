import { amqpWay } from '../src/amqp/address.ts'
import type { Way } from '../src/settings/in-clear.ts'
import { withPassword } from '../src/settings/password-file.ts'
import type { AmqpOptions } from './amqp/connection-rabbit.ts'
import type { CloudConfig } from './config.ts'
import type { DatabaseOptions } from './database/database-postgres.ts'
import { dialledBy } from './database/url-postgres.ts'
import type { InboxUpkeepOptions } from './database/inbox-upkeep-postgres.ts'
import type { ProvenanceOptions } from './gateways/provenance.ts'
import type { GroupOptions } from './groups/group.ts'
import type { GuardOptions } from './protection/guard.ts'
import type { WatchOptions } from './protection/watch.ts'
import type { SharingOptions } from './groups/sharing.ts'
import type { LetterBoxSettings } from './letters/letter-box.ts'
import type { ConsumersOptions } from './load-consumers.ts'
import type { OpsOptions } from './ops/ops.ts'
import type { ConfiguredConsumer } from './pipeline/definition.ts'
import type { Projection } from './projections/definition.ts'
import { type ProjectionsOptions, projectionTimeoutMsDefault } from './projections/projections.ts'
import type { ManagementOptions } from './queues/management.ts'

/** The configuration in the words of each part. Nothing is decided here. */

/** Above what a handler may take: for an instance that was frozen, not for one that is slow. */
const idleMarginMs = 30_000
/** Besides those of the groups: the heartbeat of sharing, the replayer, what is to be published, and what else asks now and then. */
const poolSpare = 4

export function consumerSettings({
  consumers,
  retry,
  parking,
  handlerTimeout,
  history,
  schemas,
}: CloudConfig): ConsumersOptions {
  return {
    consumers,
    defaults: {
      ladderMs: retry.ladder,
      parkedLadderMs: parking.ladder,
      timeoutMs: handlerTimeout,
      parks: parking.byDefault,
      schemaWaitMs: schemas.wait,
    },
    history: { dedupWindowMs: history.dedupWindow },
  }
}

/** Of one for each that may have a transaction open at the same time. With fewer they wait for each other. */
export function connectionsNeeded(
  { batch, parking, projections }: CloudConfig,
  consumers: readonly ConfiguredConsumer[],
): number {
  const places = parking.concurrency ?? batch.lanes
  const runners = consumers.filter(({ parks }) => parks).length * places
  return consumers.length * (batch.lanes + 1) + runners + projections.length + poolSpare
}

export function databaseSettings(
  config: CloudConfig,
  consumers: readonly ConfiguredConsumer[],
  derived: readonly Projection[],
): DatabaseOptions {
  const { database, instance } = config
  const timeoutsMs = [...consumers, ...derived].map(({ timeoutMs = projectionTimeoutMsDefault }) => timeoutMs)
  return {
    url: database.url,
    passwordFile: database.passwordFile,
    poolMax: database.poolMax ?? connectionsNeeded(config, consumers),
    applicationName: `tidegate-cloud ${instance}`,
    idleInTransactionMsMax: Math.max(...timeoutsMs) + idleMarginMs,
  }
}

/**
 * What people ask for waits for nothing that events wait for, and never long; what they read keeps nobody from signing in, nor from
 * stopping a replay: connections of their own for each.
 */
export function peopleSettings({ database, instance }: CloudConfig): {
  reading: DatabaseOptions
  deeds: DatabaseOptions
  signIn: DatabaseOptions
} {
  const { url, passwordFile } = database
  const pool = (purpose: string, poolMax: number, statementMsMax: number): DatabaseOptions => ({
    url,
    passwordFile,
    poolMax,
    statementMsMax,
    applicationName: `tidegate-cloud ${instance} ${purpose}`,
  })
  return {
    reading: pool('api', 4, 5_000),
    deeds: pool('deeds', 3, 30_000),
    signIn: pool('sign-in', 2, 2_000),
  }
}

/** At a time on the pools above; previews leave half of the readers' connections. */
export const deedBounds = { underWayMax: 3, waitingMax: 9 }
export const previewBounds = { underWayMax: 2, waitingMax: 6, transactionMsMax: 20_000 }

export function connectionSettings(
  { broker, instance }: CloudConfig,
  purpose: string,
): Pick<AmqpOptions, 'url' | 'auth' | 'connectionName'> {
  const url = withPassword(broker.url, broker.passwordFile)
  return { url, auth: broker.auth, connectionName: `tidegate-cloud ${instance} ${purpose}` }
}

export function brokerWay({ url, tls, insecure }: CloudConfig['broker']): Way {
  return { key: 'broker.url', insecure, ...amqpWay(url, tls !== undefined) }
}

export function managementWay(url: string, { insecure }: CloudConfig['broker']): Way {
  const { protocol, hostname } = new URL(url)
  return {
    key: 'broker.management',
    host: hostname,
    tls: protocol === 'https:' ? 'verified' : 'none',
    insecure,
  }
}

export function databaseWay({ url, insecure }: CloudConfig['database']): Way {
  return { key: 'database.url', insecure, ...dialledBy(url) }
}

type GroupSettings = Pick<
  GroupOptions,
  | 'instance'
  | 'partitions'
  | 'prefetch'
  | 'batchMax'
  | 'batchTimeTargetMs'
  | 'lanes'
  | 'parking'
  | 'goneAfterMs'
  | 'stallAfterMs'
  | 'stopGraceMs'
  | 'mirror'
>

export function groupSettings(config: CloudConfig): GroupSettings {
  const { instance, partitions, prefetch, batch, parking, sharing, ops, stop, deadLetters } = config
  return {
    instance,
    partitions,
    prefetch,
    batchMax: batch.max,
    batchTimeTargetMs: batch.timeTarget,
    lanes: batch.lanes,
    parking,
    goneAfterMs: sharing.goneAfter,
    stallAfterMs: ops.stallAfter,
    stopGraceMs: stop.grace,
    mirror: deadLetters.mirror,
  }
}

export function projectionSettings({ instance }: CloudConfig): Pick<ProjectionsOptions, 'instance'> {
  return { instance }
}

export function letterSettings({ deadLetters }: CloudConfig): LetterBoxSettings {
  const { max, bytesMax, closedRetention, mirror } = deadLetters
  return { max, bytesMax, closedRetentionMs: closedRetention, mirror }
}

export function inboxSettings({ inbox }: CloudConfig): Pick<InboxUpkeepOptions, 'retentionMs' | 'everyMs'> {
  return { retentionMs: inbox.retention, everyMs: inbox.pruneEvery }
}

export function sharingSettings({
  instance,
  sharing,
}: CloudConfig): Pick<SharingOptions, 'instance' | 'beatMs'> & Pick<GroupOptions, 'goneAfterMs'> {
  return { instance, beatMs: sharing.beat, goneAfterMs: sharing.goneAfter }
}

export function provenanceSettings({
  gateways,
}: CloudConfig): Omit<ProvenanceOptions, 'registry' | 'devices' | 'ownUser'> {
  return gateways
}

export function guardSettings(
  { protection, instance }: CloudConfig,
  { group, ratePerSecond, recordsFaults }: ConfiguredConsumer,
): Pick<GuardOptions, 'group' | 'instance' | 'ratePerSecond' | 'killSwitch'> {
  const { killSwitch, after, share, window, pause } = protection
  // What records faults has no failures to trip by.
  const trips = killSwitch && !recordsFaults
  return {
    group,
    instance,
    ratePerSecond,
    killSwitch: trips ? { after, share, windowMs: window, pauseMs: pause } : undefined,
  }
}

export function watchSettings({ sharing }: CloudConfig): Pick<WatchOptions, 'everyMs'> {
  return { everyMs: sharing.beat }
}

/** Undefined: what is in effect for the queues cannot be seen. */
export function managementSettings({
  broker,
}: CloudConfig): Pick<ManagementOptions, 'url' | 'brokerUrl'> | undefined {
  return broker.management === undefined ? undefined : { url: broker.management, brokerUrl: broker.url }
}

export function opsSettings(
  { ops }: CloudConfig,
  state: Omit<OpsOptions['state'], 'starveAfterMs'>,
): OpsOptions {
  return {
    host: ops.host,
    hosts: ops.hosts,
    port: ops.port,
    state: { ...state, starveAfterMs: ops.starveAfter },
  }
}
