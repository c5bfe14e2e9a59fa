import type { Clock, Random } from '../src/clock.ts'
import { isAbort } from '../src/errors.ts'
import { aborted, createScope, orAborted } from '../src/lifecycle.ts'
import type { Logger } from '../src/log.ts'
import { allOf } from '../src/settings/all-of.ts'
import { refuseInClear } from '../src/settings/in-clear.ts'
import { type AmqpConnection, connectAmqp } from './amqp/connection-rabbit.ts'
import { rabbitSidings } from './amqp/sidings-rabbit.ts'
import { declareTopology } from './amqp/topology-rabbit.ts'
import { exchangeTopology, type QueueSpec, tellTaken } from './amqp/topology.ts'
import { loadApiFiles } from './api/api.ts'
import type { CloudConfig } from './config.ts'
import { createDatabase, type Database } from './database/database-postgres.ts'
import { startInboxUpkeep } from './database/inbox-upkeep-postgres.ts'
import { migrateDatabase } from './database/migrate-postgres.ts'
import { migrations } from './database/migrations/all.ts'
import { replayedIn } from './replays/replayed-postgres.ts'
import { postgresStorage } from './database/storage-postgres.ts'
import { beginningParts, goOnBehind, publishAgain, serveApi } from './failures.ts'
import { readHeld } from './history/horizon-postgres.ts'
import { watchHorizon } from './history/horizon-watch.ts'
import { type Preparing, startPreparing } from './history/partitions-postgres.ts'
import { startKnowing } from './gateways/known.ts'
import { type Provenance, provenance, requireDevices, requireRegistered } from './gateways/provenance.ts'
import { type Group, type GroupOptions, startGroup } from './groups/group.ts'
import { postgresMembers } from './groups/members-postgres.ts'
import { retireGroup } from './groups/retire.ts'
import type { RetiringGroup } from './groups/retired.ts'
import { type Sharing, startSharing } from './groups/sharing.ts'
import type { CloudState } from './ops/readiness.ts'
import { type LetterBoxOptions, type OpenLetterBox, openLetterBox } from './letters/letter-box.ts'
import { postgresParking } from './parking/parking-postgres.ts'
import { startWatchingUnattended } from './parking/unattended-postgres.ts'
import { loadConsumers } from './load-consumers.ts'
import { loadProjections, warnOfRollups } from './load-projections.ts'
import { createOps, type Ops } from './ops/ops.ts'
import { type ConfiguredConsumer, ladderMsDefault } from './pipeline/definition.ts'
import { startLettingGo } from './projections/built-in/former-rollups-postgres.ts'
import type { Projection } from './projections/definition.ts'
import { type RunningProjections, startProjections } from './projections/projections.ts'
import { keepReading, type Opening } from './reading/keeping-postgres.ts'
import { openSchemas, requireWanted, type Schemas, wantingOf } from './reading/schemas.ts'
import { postgresGroupStates } from './protection/group-states-postgres.ts'
import { Guard } from './protection/guard.ts'
import { startWatching } from './protection/watch.ts'
import { type QueueCheck, startQueueCheck } from './queues/check.ts'
import { brokerManagement } from './queues/management.ts'
import {
  brokerWay,
  connectionsNeeded,
  connectionSettings,
  consumerSettings,
  databaseSettings,
  databaseWay,
  groupSettings,
  guardSettings,
  inboxSettings,
  letterSettings,
  managementSettings,
  managementWay,
  opsSettings,
  projectionSettings,
  provenanceSettings,
  sharingSettings,
  watchSettings,
} from './settings.ts'
import { type Start, tellSmallPool, untilReachable } from './startup.ts'
import { type CloudTls, loadCloudTls } from './tls.ts'

export interface CloudParts {
  clock: Clock
  random: Random
  log: Logger
  /** Stops the cloud when aborted. */
  signal: AbortSignal
  /** Called once everything consumes. */
  onStarted?: (started: { opsPort: number; apiPort: number | undefined }) => void
}

/**
 * Runs the cloud until the signal is aborted, then settles what is under way.
 *
 *     tidegate.events ─▶ partition queues ─▶ pipeline ─▶ PostgreSQL         one pipeline per group
 *                              ▲                │
 *                              └──── rungs ◀────┴─────▶ dead letters ─▶ mirror
 *
 * @throws TidegateError `DATABASE_UNREACHABLE`, `DATABASE_REFUSED`, `BROKER_UNREACHABLE`, `BROKER_REFUSED`,
 *   `BROKER_TLS`, `TLS_*`, `TOPOLOGY_*`, `GATEWAY_UNKNOWN`, `GATEWAY_DEVICES`, `SCHEMA_FOLDER`, `START_FAULTS`, `CONSUMER_*`, `PROJECTION_*`, `MIGRATION_EDITED`, `MIGRATION_BLOCKED`, `DATABASE_NEWER`, `DATABASE_OLDER`, `DATABASE_LOCKED`, `GROUP_BEGINS`,
 *   `PORT_TAKEN`, `API_*`
 */
export async function runCloud(config: CloudConfig, parts: CloudParts): Promise<void> {
  const { clock, random, log } = parts
  const surroundings = { clock, random, log }
  const failed = new AbortController()
  const stopping = AbortSignal.any([parts.signal, failed.signal])
  const scope = createScope()
  const start: Start = { config, scope, ...surroundings, signal: stopping, timeoutMs: config.startup.timeout }
  let sharing: Sharing | undefined
  try {
    const { projections, ...loaded } = await orAborted(loadAll(config, surroundings), stopping)
    const { consumers, tls, schemas, api } = loaded
    requireWanted(wantingOf(consumers, projections), schemas)
    const { database, preparing } = await openDatabase(start, consumers, projections)
    const until: Opening = (open) => untilReachable(open, start)
    scope.own(await keepReading({ ...config.schemas, ...surroundings, schemas, database, until }))
    const { consuming, publishing } = await connect(start, tls)
    tellTaken(log, await orAborted(declareTopology(publishing, exchangeTopology()), stopping))

    const groups: Group[] = []
    const letters = openLetters(start, { database, publishing, ops: () => ops })
    const derived = derive(start, database, projections, schemas)
    const databaseFault = (): string | undefined => sharing?.fault
    const findings = (): QueueCheck['findings'] => check.findings
    const seen = seenOf(start, database, { consuming, publishing, consumers })
    const standing = { ...standingOf(letters), findings, partitions: preparing.standing }
    const retiring = retire(start, { consuming, publishing, database, letters })
    const state = {
      ...seen,
      ...standing,
      ...derivedOf(derived, retiring),
      schemas,
      groups,
      databaseFault,
      tls,
    }
    const ops = createOps(opsSettings(config, state))
    const onFatal = (error: unknown): void => failed.abort(error)
    const lines = { consuming, publishing, letters, database, observer: ops.pipeline, onFatal }
    const shared = await sharedByGroups(start, { ...lines, schemas, consumers })
    const guards = guardsOf(start, database, consumers, (group) => sharing?.membersOf(group) ?? 1)
    for (const guarded of guards) groups.push(scope.own(await startGroup({ ...shared, ...guarded })))
    goOnBehind(start, schemas, { database, groups })
    publishAgain(start, { publishing, database, consumers })

    sharing = share(start, database, groups)
    keepUp(start, database, guards)
    const check = checkQueues(start, tls, groups)

    const opsServer = scope.own(await ops.start())
    const forApi = { schemas, files: api, observer: ops.api, consumers }
    const { port: apiPort } = await serveApi(start, forApi)
    const ports = { opsPort: opsServer.port, apiPort }
    log.info({ groups: groups.map(({ name }) => name), ...ports }, 'the cloud is running')
    parts.onStarted?.(ports)

    await aborted(stopping)
    failed.signal.throwIfAborted()
  } catch (error) {
    if (!isAbort(error) || !parts.signal.aborted) throw error
  } finally {
    await scope.close()
    log.info('the cloud has stopped')
  }
}

/** What is needed of files, and whether all ways out are as they must be, before anything is opened. */
function loadAll(config: CloudConfig, { clock, log }: Pick<CloudParts, 'clock' | 'log'>) {
  return allOf({
    consumers: () => loadConsumers(consumerSettings(config)),
    projections: () => loadProjections(config.projections),
    tls: () => loadCloudTls(config, clock, log),
    ways: () => refuseOpenWays(config, log),
    schemas: () => openSchemas({ ...config.schemas, log }),
    api: () => loadApiFiles(config.api, clock, log),
  })
}

/** @throws TidegateError `CONNECTION_IN_CLEAR`, `START_FAULTS` */
function refuseOpenWays({ broker, database }: CloudConfig, log: Logger): Promise<unknown> {
  const { management } = broker
  return allOf({
    broker: () => refuseInClear(brokerWay(broker), log),
    management: () => management !== undefined && refuseInClear(managementWay(management, broker), log),
    database: () => refuseInClear(databaseWay(database), log),
  })
}

const ownerText =
  'the user of database.url owns the record and can alter it: give it tidegate_writer instead (docs/DATABASE.md, Roles)'

/** A database that answers, with today's schema. */
async function openDatabase(
  start: Start,
  consumers: readonly ConfiguredConsumer[],
  projections: readonly Projection[],
): Promise<{ database: Database; preparing: Preparing }> {
  const { config, log } = start
  tellSmallPool(log, config.database.poolMax, connectionsNeeded(config, consumers))
  const database = start.scope.own(createDatabase(databaseSettings(config, consumers, projections)))
  await untilReachable(() => database.probe(), start)
  const standing = await untilReachable(() => migrateDatabase(database, migrations, start), start)
  if (standing === 'owner') log.warn({ code: 'DATABASE_OWNER' }, ownerText)
  const preparing = start.scope.own(startPreparing({ ...start, database }))
  return { database, preparing }
}

/** Whom to believe, by what is registered in the database. */
async function provenanceOf(
  start: Start,
  database: Database,
  ownUser: string | undefined,
): Promise<Provenance> {
  const gateways = start.scope.own(await untilReachable(() => startKnowing({ ...start, database }), start))
  const settings = provenanceSettings(start.config)
  requireRegistered(settings.unknown, gateways.registry)
  requireDevices(settings.withoutDevices, gateways.devices)
  return provenance({
    ...settings,
    ownUser,
    registry: () => gateways.registry,
    devices: () => gateways.devices,
  })
}

async function connect(
  start: Start,
  { broker: tls }: CloudTls,
): Promise<Record<'consuming' | 'publishing', AmqpConnection>> {
  const { config, scope, log, signal } = start
  const open = async (purpose: string): Promise<AmqpConnection> => {
    const options = { ...connectionSettings(config, purpose), tls, log, signal }
    return scope.own(await untilReachable(() => connectAmqp(options), start))
  }
  return { consuming: await open('consume'), publishing: await open('publish') }
}

function openLetters(
  { config, scope, clock, log }: Start,
  { database, publishing, ops }: { database: Database; publishing: AmqpConnection; ops: () => Ops },
): OpenLetterBox {
  const onMirrored: LetterBoxOptions['onMirrored'] = (group, result) => ops().mirrored(group, result)
  const settings = letterSettings(config)
  return scope.own(openLetterBox({ ...settings, database, connection: publishing, onMirrored, clock, log }))
}

/** What a watcher may ask of the servers: whether the broker is there, and how far history can be read. */
function seenOf(
  { config, scope, clock, log }: Start,
  database: Database,
  {
    consuming,
    publishing,
    consumers,
  }: Record<'consuming' | 'publishing', AmqpConnection> & { consumers: readonly ConfiguredConsumer[] },
) {
  const horizon = scope.own(watchHorizon({ read: () => readHeld(database), clock, log }))
  const { goneAfterMs } = sharingSettings(config)
  const groups = consumers.map(({ group }) => group)
  const parked = scope.own(startWatchingUnattended({ database, groups, goneAfterMs, clock, log }))
  const brokersUp = (): Record<string, boolean> => ({ consume: consuming.up, publish: publishing.up })
  return { horizon, brokersUp, unattended: () => parked.unattended }
}

/** Gives other instances their part, as far as they show in the database. */
function share({ config, scope, clock, log }: Start, database: Database, groups: readonly Group[]): Sharing {
  const { instance, goneAfterMs, beatMs } = sharingSettings(config)
  const members = postgresMembers(database, instance, goneAfterMs)
  return scope.own(startSharing({ instance, members, groups, beatMs, clock, log }))
}

/** Each consumer with who keeps it from working while it is not to. */
function guardsOf(
  { config, clock, log }: Start,
  database: Database,
  consumers: readonly ConfiguredConsumer[],
  membersOf: (group: string) => number,
): { consumer: ConfiguredConsumer; guard: Guard }[] {
  const states = postgresGroupStates(database)
  return consumers.map((consumer) => {
    const { group } = consumer
    const settings = guardSettings(config, consumer)
    const membersNow = (): number => membersOf(group)
    return {
      consumer,
      guard: new Guard({ ...settings, states, membersNow, clock, log: log.child({ group }) }),
    }
  })
}

type Lines = Pick<
  GroupOptions,
  'consuming' | 'publishing' | 'letters' | 'database' | 'observer' | 'onFatal'
> & { consumers: readonly ConfiguredConsumer[]; schemas: Schemas }

/** What every group is started with. */
async function sharedByGroups(
  start: Start,
  { consumers, schemas, ...lines }: Lines,
): Promise<Omit<GroupOptions, 'consumer' | 'guard'>> {
  const { config, scope, clock, random, log, signal } = start
  const { publishing, database } = lines
  return {
    ...groupSettings(config),
    ...lines,
    ...beginningParts(start, { publishing, database, consumers }),
    clock,
    random,
    log,
    sidings: scope.own(rabbitSidings(publishing, clock)),
    storage: postgresStorage(database, clock),
    parkingIn: postgresParking,
    replayedIn,
    checkSchema: schemas.check,
    readAs: schemas.readAs,
    provenance: await provenanceOf(start, database, publishing.user),
    signal,
  }
}

/** What is derived from history: while the database answers, whatever the broker does. */
function derive(
  { config, scope, clock, random, log }: Start,
  database: Database,
  projections: readonly Projection[],
  schemas: Schemas,
): RunningProjections {
  const { readStoredAs, upcastersTo } = schemas
  void warnOfRollups(config, database, log)
  scope.own(startLettingGo({ storage: postgresStorage(database), clock, log }))
  const derived = scope.own(
    startProjections({
      ...projectionSettings(config),
      projections,
      database,
      readAs: readStoredAs,
      upcastersTo,
      clock,
      random,
      log,
    }),
  )
  schemas.onChange(() => derived.schemasChanged())
  return derived
}

/** What was a consumer group before it was a projection. */
const retiredGroup = { group: 'rollups', types: ['#'] } as const

/** Lets the queues of a group go that this version has not any more. No consumer has its name. */
function retire(
  { config, scope, clock, random, log }: Start,
  lines: Pick<Lines, 'consuming' | 'publishing' | 'database' | 'letters'>,
): RetiringGroup {
  const settings = {
    ...groupSettings(config),
    ...retiredGroup,
    ladderMs: config.retry.ladder ?? ladderMsDefault,
  }
  const surroundings = { clock, random, log: log.child({ group: retiredGroup.group }) }
  const dedupWindowMs = config.history.dedupWindow
  const storage = postgresStorage(lines.database)
  return scope.own(retireGroup({ ...settings, ...lines, dedupWindowMs, storage, ...surroundings }))
}

/** Looks at what is in effect for every queue there should be, where the broker lets it. */
function checkQueues(
  { config, scope, clock, log }: Start,
  tls: CloudTls,
  groups: readonly Group[],
): QueueCheck {
  const settings = managementSettings(config)
  const management = settings && brokerManagement({ ...settings, tls: tls.broker, clock })
  const queues = (): QueueSpec[] => [
    ...exchangeTopology().queues,
    ...groups.flatMap((group) => group.queues()),
  ]
  return scope.own(startQueueCheck({ management, queues, clock, log }))
}

/** What groups are told by way of the database, and what is taken out of it. */
function keepUp(
  { config, scope, clock, log }: Start,
  database: Database,
  guards: readonly { guard: Guard }[],
): void {
  const states = postgresGroupStates(database)
  scope.own(startWatching({ ...watchSettings(config), states, guards, clock, log }))
  scope.own(startInboxUpkeep({ ...inboxSettings(config), database, clock, log }))
}

/** How what is derived stands, and what is left of what was a group. */
function derivedOf(
  derived: RunningProjections,
  retiring: RetiringGroup,
): Pick<CloudState, 'projections' | 'unheld' | 'retired'> {
  return {
    projections: () => derived.statuses(),
    unheld: () => derived.unheld(),
    retired: () => ({ group: retiredGroup.group, waiting: retiring.waiting }),
  }
}

/** How they stand, for whoever looks. */
function standingOf(letters: OpenLetterBox): Pick<CloudState, 'letters' | 'replays'> {
  return { letters: () => letters.standing(), replays: () => letters.replays() }
}
