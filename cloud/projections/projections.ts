import { createHash } from 'node:crypto'
import type { Clock, Random } from '../../src/clock.ts'
import type { Logger } from '../../src/log.ts'
import type { Database } from '../database/database-postgres.ts'
import { postgresStorage } from '../database/storage-postgres.ts'
import { postgresReader } from '../history/reader-postgres.ts'
import type { LoadedProjection, Projection } from './definition.ts'
import { runJob } from './jobs-postgres.ts'
import { type Runner, type RunnerStatus, startRunner } from './runner.ts'
import { withTables } from './tables-file.ts'
import { postgresTables } from './tables-postgres.ts'
import { postgresLeases, postgresVersions } from './versions-postgres.ts'

export interface ProjectionsOptions {
  projections: readonly Projection[]
  database: Database
  instance: string
  /** Of one call of `apply`, ms, where a projection does not say. */
  timeoutMs: number
  leaseMs?: number
  /** Events of a transaction at most. */
  batchMax?: number
  clock: Clock
  random: Random
  log: Logger
}

/** Those that this instance has, at work or standing by. */
export interface RunningProjections {
  statuses(): RunnerStatus[]
  close(): Promise<void>
}

/** Longer than a batch takes, shorter than anybody wants to wait for the next instance. */
const leaseMsDefault = 10_000
/** Larger ones hold the horizon back for others, and are no faster. */
const batchMaxDefault = 1000

/** @throws TidegateError `PROJECTION_INVALID` */
export function startProjections(options: ProjectionsOptions): RunningProjections {
  const { database, instance, clock, random, log } = options
  const { leaseMs = leaseMsDefault, batchMax = batchMaxDefault } = options
  const shared = {
    storage: postgresStorage(database),
    leases: postgresLeases({ database, instance, leaseMs }),
    versionsIn: (tx: Parameters<typeof postgresVersions>[0]) => postgresVersions(tx, leaseMs),
    readerIn: postgresReader,
    tables: postgresTables,
    runJob,
    clock,
    random,
    log,
    leaseMs,
    batchMax,
  }
  const runners: Runner[] = options.projections.map(withTables).map((projection) =>
    startRunner({
      ...shared,
      projection,
      definition: definitionOf(projection),
      timeoutMs: projection.timeoutMs ?? options.timeoutMs,
    }),
  )
  let closing: Promise<unknown> | undefined
  return {
    statuses: () => runners.map(({ status }) => status),
    async close() {
      await (closing ??= Promise.all(runners.map((runner) => runner.close())))
    },
  }
}

/** What of a module can be told apart: not what `apply` does. */
function definitionOf({ tables, events, keyColumn }: LoadedProjection): string {
  return createHash('sha256')
    .update(JSON.stringify([tables, events, keyColumn]))
    .digest('hex')
}
