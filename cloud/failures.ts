import type { SchemaRegistry } from '../src/contract/schema-registry.ts'
import type { AmqpConnection } from './amqp/connection-rabbit.ts'
import { startReplaying } from './amqp/unroutable-rabbit.ts'
import { type ApiFiles, type RunningApi, startApi } from './api/api.ts'
import type { ApiObserver } from './api/observer.ts'
import { postgresEvents } from './api/reads/events-postgres.ts'
import { postgresReads } from './api/reads/reads-postgres.ts'
import { postgresTokens } from './api/tokens/tokens-postgres.ts'
import { boundedStorage } from './api/writes/bounded-storage.ts'
import { trialStorage } from './api/writes/trial-storage.ts'
import type { DoOnce } from './api/writes/do-once.ts'
import { postgresWorkplace } from './api/writes/workplace-postgres.ts'
import { createDatabase, type Database } from './database/database-postgres.ts'
import { postgresStorage } from './database/storage-postgres.ts'
import type { Storage } from './database/storage.ts'
import { doOnce } from './deeds/deed-record.ts'
import { postgresDeeds } from './deeds/deeds-postgres.ts'
import type { Deeds } from './deeds/deeds.ts'
import { startPublishing } from './deeds/publishing.ts'
import { postgresParking } from './parking/parking-postgres.ts'
import type { ConfiguredConsumer } from './pipeline/definition.ts'
import type { SchemaCheck } from './pipeline/schema-check.ts'
import { rabbitOutbound } from './replays/outbound-rabbit.ts'
import { startReplayer } from './replays/replayer.ts'
import { postgresReplays } from './replays/replays-postgres.ts'
import { deedBounds, peopleSettings, previewBounds } from './settings.ts'
import type { Start } from './startup.ts'

/** Nothing is heard of a letter for as long as it climbs the ladder; and its group may be behind. */
const settleSlackMs = 3_600_000
const replayLeaseMs = 60_000

/** What no queue wanted, dead letters that somebody sends back, and readings that somebody has admitted. */
export function publishAgain(
  { config, scope, clock, log }: Start,
  {
    publishing,
    database,
    consumers,
  }: { publishing: AmqpConnection; database: Database; consumers: readonly ConfiguredConsumer[] },
): void {
  const { partitions } = config
  scope.own(startReplaying({ connection: publishing, clock, log }))
  const outbound = scope.own(rabbitOutbound(publishing, clock))
  scope.own(startPublishing({ storage: postgresStorage(database), outbound, partitions, clock, log }))
  const groups = consumers.map(({ group }) => group)
  const ladders = consumers.map(({ ladderMs }) => ladderMs.reduce((sum, delayMs) => sum + delayMs, 0))
  scope.own(
    startReplayer({
      replaysUntil: (signal) =>
        postgresReplays({ storage: postgresStorage(database), leaseMs: replayLeaseMs, groups, signal }),
      outbound,
      partitions,
      clock,
      log,
      settleWithinMs: Math.max(0, ...ladders) + settleSlackMs,
    }),
  )
}

/** What events are checked against. */
export interface Schemas {
  registry: SchemaRegistry
  check: SchemaCheck
}

/** For people, if the configuration says where: what there is of failures, and what is to be done about them. */
export async function serveApi(
  { config, scope, clock, random, log }: Start,
  { schemas, files, observer }: { schemas: Schemas; files: ApiFiles; observer: ApiObserver },
): Promise<RunningApi> {
  const pools = peopleSettings(config)
  const reading = scope.own(createDatabase(pools.reading))
  const signIn = scope.own(createDatabase(pools.signIn))
  const writing = boundedStorage(postgresStorage(scope.own(createDatabase(pools.deeds))), clock, deedBounds)
  const looking = boundedStorage(postgresStorage(reading), clock, previewBounds)
  // What is under way when the cloud stops has the grace of its requests.
  const cutOff = new AbortController()
  const surroundings = { clock, random, signal: cutOff.signal }
  const checks = { checkSchema: schemas.check, schemas: schemas.registry }
  const deedsOn = (storage: Storage, isTrial = false): Deeds =>
    postgresDeeds({ ...surroundings, ...checks, storage, isTrial })
  const previews = deedsOn(looking)
  const trying = trialStorage(writing)
  const onceOn =
    (storage: Storage): DoOnce =>
    (verb, deed, work) =>
      doOnce(verb, deed, { ...surroundings, storage }, work)
  const events = postgresEvents(reading, { clock, log })
  const parts = {
    events,
    reads: postgresReads(reading),
    tokens: postgresTokens(signIn),
    deeds: { ...deedsOn(writing), preview: previews.preview.bind(previews) },
    workplace: postgresWorkplace({ doOnce: onceOn(writing), parkingIn: postgresParking }),
    trial: {
      deeds: deedsOn(trying, true),
      workplace: postgresWorkplace({ doOnce: onceOn(trying), parkingIn: postgresParking }),
    },
  }
  const api = scope.own(await startApi({ config: config.api, files, parts, observer, cutOff, clock, log }))
  // Before the API waits for what is under way.
  scope.own(events.streams)
  return api
}
