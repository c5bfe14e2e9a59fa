import { createHash } from 'node:crypto'
import type { Clock, Random } from '../../src/clock.ts'
import { noSchemas } from '../../src/schemas/registry.ts'
import { noUpcasts } from '../../src/schemas/upcast/chain.ts'
import { createReadAs, type ReadAs } from '../../src/schemas/upcast/read-as.ts'
import type { Logger } from '../../src/log.ts'
import type { Database } from '../database/database-postgres.ts'
import { postgresStorage } from '../database/storage-postgres.ts'
import { postgresReader } from '../history/reader-postgres.ts'
import type { LoadedProjection, Projection } from './definition.ts'
import { runJob } from './jobs-postgres.ts'
import { type Runner, type RunnerStatus, startRunner } from './runner.ts'
import { createTurns } from './pace.ts'
import { withTables } from './tables-file.ts'
import type { VersionKey } from './versions.ts'
import { postgresTables } from './tables-postgres.ts'
import { postgresLeases, postgresVersions, readUnheld } from './versions-postgres.ts'

export interface ProjectionsOptions {
  projections: readonly Projection[]
  database: Database
  instance: string
  /** Of one call of `apply`, ms, where a projection does not say. Readers of history wait for one that hangs. Default 10 s. */
  timeoutMs?: number
  leaseMs?: number
  /** Events of a transaction at most. */
  batchMax?: number
  /** For projections that ask for versions. Default: no schema is known, and they wait. */
  readAs?: ReadAs
  /** What brings events of a type to a version: other than before, it is another projection. Default: nothing does. */
  upcastersTo?: (type: string, version: number) => readonly string[]
  clock: Clock
  random: Random
  log: Logger
}

/** Those that this instance has, at work or standing by. */
export interface RunningProjections {
  statuses(): RunnerStatus[]
  /** Versions that readers see and nobody works at, here or elsewhere; some seconds old. */
  unheld(): readonly VersionKey[]
  /** What `readAs` and `upcastersTo` say is of other schemas from now on: what waited is tried, and what would be derived anew stops. */
  schemasChanged(): void
  close(): Promise<void>
}

/** Longer than a batch takes, shorter than anybody wants to wait for the next instance. */
const leaseMsDefault = 10_000
/** Larger ones hold the horizon back for others, and are no faster. */
const batchMaxDefault = 1000
/** Versions that are built at once; those that are live take no turns. */
const buildersMax = 2

/** Of one call of `apply`. */
export const projectionTimeoutMsDefault = 10_000

const unheldEveryMs = 10_000
/** A lease that ran out so long ago is nobody's; who does a job renews none meanwhile. */
const unheldAfterMs = 60_000

/** @throws TidegateError `PROJECTION_INVALID` */
export function startProjections(options: ProjectionsOptions): RunningProjections {
  const { database, instance, clock, random, log } = options
  const {
    leaseMs = leaseMsDefault,
    batchMax = batchMaxDefault,
    readAs = createReadAs(noSchemas, noUpcasts),
    upcastersTo = () => [],
  } = options
  const shared = {
    storage: postgresStorage(database),
    leases: postgresLeases({ database, instance, leaseMs }),
    versionsIn: (tx: Parameters<typeof postgresVersions>[0]) => postgresVersions(tx, leaseMs),
    readerIn: postgresReader,
    tables: postgresTables,
    runJob,
    readAs,
    clock,
    random,
    log,
    leaseMs,
    batchMax,
    turns: createTurns(buildersMax),
  }
  const projections = options.projections.map(withTables)
  const runners: Runner[] = projections.map((projection) =>
    startRunner({
      ...shared,
      projection,
      definition: definitionOf(projection, upcastersTo),
      timeoutMs: projection.timeoutMs ?? options.timeoutMs ?? projectionTimeoutMsDefault,
    }),
  )
  const watch = watchUnheld(options)
  let closing: Promise<unknown> | undefined
  return {
    statuses: () => runners.map(({ status }) => status),
    unheld: () => watch.unheld,
    schemasChanged() {
      for (const [index, projection] of projections.entries())
        runners[index]?.schemasChanged(definitionOf(projection, upcastersTo))
    },
    async close() {
      await (closing ??= Promise.all([...runners, watch].map((one) => one.close())))
    },
  }
}

/** Looks now and then, also where no projection is configured: it may have been taken out of every configuration. */
function watchUnheld({ database, clock, log }: ProjectionsOptions): {
  readonly unheld: readonly VersionKey[]
  close(): Promise<void>
} {
  const stopping = new AbortController()
  let unheld: readonly VersionKey[] = []
  async function look(): Promise<void> {
    while (!stopping.signal.aborted) {
      // What the database does not say it says the next time; readiness tells of it.
      unheld = await readUnheld(database, unheldAfterMs).catch(() => unheld)
      if (unheld.length > 0)
        log.warn({ code: 'PROJECTION_UNHELD', unheld }, 'nobody works at what readers see')
      await clock.sleep(unheldEveryMs, stopping.signal).catch(() => {})
    }
  }
  const looking = look()
  return {
    get unheld() {
      return unheld
    },
    close() {
      stopping.abort()
      return looking
    },
  }
}

/** What of a module can be told apart, and of what brings events to the versions that it asks for: not what `apply` does. */
export function definitionOf(
  projection: LoadedProjection,
  upcastersTo: (type: string, version: number) => readonly string[],
): string {
  const { tables, events, keyColumn, versions } = projection
  const wanted = events.flatMap((type) => projection.wantedVersion(type) ?? [])
  const upcasters = Object.entries(versions).flatMap(([type, version]) => upcastersTo(type, version))
  // What was not asked for is not in it: what was built before it could be has the definition that it had.
  const more = [wanted, upcasters.toSorted()].filter((each) => each.length > 0)
  return createHash('sha256')
    .update(JSON.stringify([tables, events, keyColumn, ...more]))
    .digest('hex')
}
