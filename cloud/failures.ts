import type { Event } from '../src/contract/envelope.ts'
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
import { beginGroup } from './deeds/begin-postgres.ts'
import { doOnce } from './deeds/deed-record.ts'
import { postgresDeeds } from './deeds/deeds-postgres.ts'
import type { Deeds } from './deeds/deeds.ts'
import { startPublishing } from './deeds/publishing.ts'
import { postgresBeginnings } from './groups/beginning-postgres.ts'
import { beginningLeaseMs, type GroupOptions } from './groups/group.ts'
import { postgresPages } from './history/replay-pages-postgres.ts'
import { startReleasing } from './parking/awaited.ts'
import { postgresParking } from './parking/parking-postgres.ts'
import { type ConfiguredConsumer, ladderMsDefault } from './pipeline/definition.ts'
import type { Schemas } from './reading/schemas.ts'
import { postgresSchemaDesk } from './schemas/apply/desk-postgres.ts'
import { rabbitOutbound } from './replays/outbound-rabbit.ts'
import type { Taken } from './replays/history-source-postgres.ts'
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
  const taken = takenBy(consumers)
  const ladders = consumers.map(({ ladderMs }) => ladderMs.reduce((sum, delayMs) => sum + delayMs, 0))
  scope.own(
    startReplayer({
      replaysUntil: (signal) =>
        postgresReplays({
          storage: postgresStorage(database),
          leaseMs: replayLeaseMs,
          groups,
          taken,
          pages: postgresPages,
          signal,
        }),
      outbound,
      partitions,
      clock,
      log,
      settleWithinMs: Math.max(0, ...ladders) + settleSlackMs,
    }),
  )
}

/** Who is here, and for groups that begin at the beginning of history, if there are any: who knows how far they are, and what publishes for them. */
export function beginningParts(
  { config, scope, clock, random, signal }: Start,
  {
    publishing,
    database,
    consumers,
  }: { publishing: AmqpConnection; database: Database; consumers: readonly ConfiguredConsumer[] },
): Pick<GroupOptions, 'beginnings' | 'outbound' | 'historyLadderMs'> {
  const storage = postgresStorage(database)
  const beginnings = postgresBeginnings({
    storage,
    pages: postgresPages,
    taken: takenBy(consumers),
    begin: (group) => beginGroup(group, { storage, clock, random, signal }),
    leaseMs: beginningLeaseMs,
    // What is under way when the cloud stops ends with its groups.
    signal: new AbortController().signal,
  })
  if (!consumers.some(({ from }) => from === 'beginning')) return { beginnings }
  const outbound = scope.own(rabbitOutbound(publishing, clock))
  return { beginnings, outbound, historyLadderMs: config.retry.ladder ?? ladderMsDefault }
}

function takenBy(consumers: readonly ConfiguredConsumer[]): Taken {
  const byGroup = new Map(consumers.map((consumer) => [consumer.group, consumer]))
  return {
    wants: (group, type) => byGroup.get(group)?.wants(type) ?? false,
    patterns: (group) => byGroup.get(group)?.types,
  }
}

/** What has waited for schemas is tried with those that have come. */
export function goOnBehind(
  { scope, clock, log }: Start,
  schemas: Schemas,
  { database, groups }: { database: Database; groups: readonly { name: string }[] },
): void {
  const storage = postgresStorage(database)
  const names = (): string[] => groups.map(({ name }) => name)
  const releasing = scope.own(
    startReleasing({ storage, parkingIn: postgresParking, groups: names, clock, log }),
  )
  schemas.onChange(() => releasing.release())
  // Others may have come since they were read first, before anybody listened; or while this cloud was down.
  releasing.release()
}

/** Whether a group could be handed an event today: it fits its schema, and can be brought to the version that the group asks for. */
function acceptedBy(
  consumers: readonly ConfiguredConsumer[],
  { check, readAs }: Schemas,
): (group: string, event: Event) => boolean {
  const byGroup = new Map(consumers.map((consumer) => [consumer.group, consumer]))
  return (group, event) => {
    if (check(event) !== undefined) return false
    const wanted = byGroup.get(group)?.wantedVersion(event.type)
    if (wanted === undefined) return true
    try {
      readAs(event, wanted)
      return true
    } catch {
      return false
    }
  }
}

/** What is held against schemas before it is done. */
function checksOf(consumers: readonly ConfiguredConsumer[], schemas: Schemas) {
  return {
    checkSchema: schemas.checkStrictly,
    accepts: acceptedBy(consumers, schemas),
    schemas: schemas.registry,
  }
}

/** For people, if the configuration says where: what there is of failures, and what is to be done about them. */
export async function serveApi(
  { config, scope, clock, random, log }: Start,
  {
    schemas,
    files,
    observer,
    consumers,
  }: {
    schemas: Schemas
    files: ApiFiles
    observer: ApiObserver
    consumers: readonly ConfiguredConsumer[]
  },
): Promise<RunningApi> {
  const pools = peopleSettings(config)
  const reading = scope.own(createDatabase(pools.reading))
  const signIn = scope.own(createDatabase(pools.signIn))
  const deedsBy = scope.own(createDatabase(pools.deeds))
  const writing = boundedStorage(postgresStorage(deedsBy), clock, deedBounds)
  const looking = boundedStorage(postgresStorage(reading), clock, previewBounds)
  // What is under way when the cloud stops has the grace of its requests.
  const cutOff = new AbortController()
  const surroundings = { clock, random, signal: cutOff.signal }
  const dedups = new Map(consumers.map(({ group, dedup }) => [group, dedup]))
  const known = (group: string): 'inbox' | 'own' | undefined => dedups.get(group)
  const checks = checksOf(consumers, schemas)
  const deedsOn = (storage: Storage, isTrial = false): Deeds =>
    postgresDeeds({ ...surroundings, ...checks, known, storage, isTrial })
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
    schemas: postgresSchemaDesk({
      ...surroundings,
      storage: writing,
      database: deedsBy,
      formats: config.schemas.formats,
      inUse: () => schemas.inUse,
    }),
    deeds: {
      ...deedsOn(writing),
      preview: previews.preview.bind(previews),
      previewHistory: previews.previewHistory.bind(previews),
    },
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
