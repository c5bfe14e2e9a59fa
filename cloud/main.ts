import type { Clock, Random } from '../src/clock.ts'
import { isAbort } from '../src/errors.ts'
import { aborted, createScope, orAborted } from '../src/lifecycle.ts'
import type { Logger } from '../src/log.ts'
import { startOpsServer } from '../src/ops-server.ts'
import { loadSchemas } from '../src/contract/schema-registry.ts'
import { brokerManagement } from './queues/management.ts'
import { type AmqpConnection, connectAmqp } from './amqp/connection-rabbit.ts'
import { loadBrokerTls } from './tls.ts'
import type { CloudConfig } from './config.ts'
import { createDatabase } from './database/database-postgres.ts'
import { type Group, startGroup } from './groups/group.ts'
import { startPruning } from './database/inbox-pruning-postgres.ts'
import { loadConsumers } from './load-consumers.ts'
import { postgresMembers } from './groups/members-postgres.ts'
import { createMetrics } from './ops/metrics.ts'
import { migrateDatabase } from './database/migrate-postgres.ts'
import { migrations } from './database/migrations/all.ts'
import { startQueueCheck } from './queues/check.ts'
import { type CloudState, readiness } from './ops/readiness.ts'
import { noSchemaCheck, schemaCheck } from './pipeline/schema-check.ts'
import { startSharing } from './groups/sharing.ts'
import { rabbitSidings } from './amqp/sidings-rabbit.ts'
import { untilReachable } from './startup.ts'
import { postgresStorage } from './database/storage-postgres.ts'
import { declareTopology } from './amqp/topology-rabbit.ts'
import { exchangeTopology, tellTaken } from './amqp/topology.ts'
import { startReplaying } from './amqp/unroutable-rabbit.ts'

export interface CloudParts {
  clock: Clock
  random: Random
  log: Logger
  /** Stops the cloud when aborted. */
  signal: AbortSignal
  /** Called once everything consumes. */
  onStarted?: (started: { opsPort: number }) => void
}

/**
 * Runs the cloud until the signal is aborted, then settles what is under way.
 *
 *     tidegate.events ─▶ partition queues ─▶ pipeline ─▶ PostgreSQL         one pipeline per group
 *                              ▲                │
 *                              └──── rungs ◀────┴────▶ dead letters
 *
 * @throws TidegateError `DATABASE_UNREACHABLE`, `DATABASE_REFUSED`, `BROKER_UNREACHABLE`, `BROKER_REFUSED`,
 *   `BROKER_TLS`, `TLS_*`, `TOPOLOGY_*`, `SCHEMA_FOLDER`, `CONSUMER_*`, `MIGRATION_EDITED`, `DATABASE_NEWER`, `DATABASE_LOCKED`,
 *   `PORT_TAKEN`
 */
export async function runCloud(config: CloudConfig, parts: CloudParts): Promise<void> {
  const { clock, random, log } = parts
  const { instance } = config
  const fatal = new AbortController()
  const signal = AbortSignal.any([parts.signal, fatal.signal])
  const startup = { timeoutMs: config.startup.timeout, clock, random, log, signal }
  const scope = createScope()
  try {
    const consumers = await orAborted(loadConsumers(config.consumers), signal)
    const tls = loadBrokerTls(config.broker.tls)
    const { folder, unchecked } = config.schemas
    const checkSchema = folder === undefined ? noSchemaCheck : schemaCheck(loadSchemas(folder), unchecked)
    const longestHandlerMs = Math.max(...consumers.map((one) => one.timeoutMs ?? config.handlerTimeout))
    const metrics = createMetrics()
    const { observer } = metrics

    const database = scope.own(
      createDatabase({
        url: config.database.url,
        poolMax: config.database.poolMax ?? consumers.length * config.batch.lanes + 2,
        applicationName: `tidegate-cloud ${instance}`,
        idleInTransactionMsMax: longestHandlerMs + 30_000,
      }),
    )
    await untilReachable(() => database.probe(), startup)
    await migrateDatabase(database, migrations, startup)
    const storage = postgresStorage(database)

    const connect = async (purpose: string): Promise<AmqpConnection> => {
      const connectionName = `tidegate-cloud ${instance} ${purpose}`
      const options = { url: config.broker.url, tls, connectionName, log, signal }
      return scope.own(await untilReachable(() => connectAmqp(options), startup))
    }
    const consuming = await connect('consume')
    const publishing = await connect('publish')
    const sidings = scope.own(rabbitSidings(publishing, clock))

    tellTaken(log, await orAborted(declareTopology(publishing, exchangeTopology()), signal))
    const onFatal = (error: unknown): void => fatal.abort(error)
    const brokers = { consuming, publishing, sidings }
    const shared = { config, ...brokers, database, storage, checkSchema, observer, onFatal, signal }
    const groups: Group[] = []
    for (const consumer of consumers) {
      groups.push(scope.own(await startGroup(consumer, { ...shared, clock, random, log })))
    }
    scope.own(startReplaying({ connection: publishing, clock, log }))

    const members = postgresMembers(database, instance, config.sharing.goneAfter)
    const sharing = scope.own(
      startSharing({ instance, members, groups, beatMs: config.sharing.beat, clock, log }),
    )
    const { retention: retentionMs, pruneEvery: everyMs } = config.inbox
    scope.own(startPruning({ database, retentionMs, everyMs, clock, log }))

    const { url: brokerUrl, management } = config.broker
    const check = scope.own(
      startQueueCheck({
        management:
          management === undefined ? undefined : brokerManagement({ url: management, tls, brokerUrl, clock }),
        queues: () => [...exchangeTopology().queues, ...groups.flatMap((group) => group.queues())],
        clock,
        log,
      }),
    )

    const state: CloudState = {
      findings: () => check.findings,
      groups,
      databaseUp: () => sharing.up,
      brokersUp: () => ({ consume: consuming.up, publish: publishing.up }),
    }
    metrics.watch(state)
    const { host, port } = config.ops
    const ops = scope.own(
      await startOpsServer({ host, port, metrics: () => metrics.text(), ready: () => readiness(state) }),
    )
    log.info({ groups: groups.map(({ name }) => name), opsPort: ops.port }, 'the cloud is running')
    parts.onStarted?.({ opsPort: ops.port })

    await aborted(signal)
    if (fatal.signal.aborted) throw fatal.signal.reason
  } catch (error) {
    if (!isAbort(error) || !parts.signal.aborted) throw error
  } finally {
    await scope.close()
    log.info('the cloud has stopped')
  }
}
