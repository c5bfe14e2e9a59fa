import { TidegateError } from '../../src/errors.ts'
import type { Transaction } from '../database/storage.ts'
import type { Job, VersionKey, VersionState } from './versions.ts'
import { showVersion } from './view-postgres.ts'

/** What people do to versions, each within the transaction of its deed. */

interface Known {
  state: VersionState
  active: number | null
  former: number | null
}

const knownSql = `
select v.state, p.active, p.former from tidegate.projection_versions as v left join tidegate.projections as p using (name)
where v.name = $1 and v.version = $2 for update of v`

/** Waits for the batch that is under way. @throws TidegateError `PROJECTION_UNKNOWN` */
async function lockVersion(tx: Transaction, { name, version }: VersionKey): Promise<Known> {
  const { rows } = await tx.query<Known>(knownSql, [name, version])
  if (rows[0] === undefined) throw unknownVersion({ name, version })
  return rows[0]
}

/**
 * Has readers see another version.
 * @throws TidegateError `PROJECTION_UNKNOWN`, `PROJECTION_BEHIND`, `PROJECTION_ACTIVE`, `PROJECTION_IN_USE`, `PROJECTION_VIEW_USED`
 */
export async function switchVersion(
  tx: Transaction,
  { name, version, back }: { name: string; version?: number | undefined; back?: boolean | undefined },
): Promise<{ name: string; version: number; former: number }> {
  const { rows } = await tx.query<{ active: number; former: number | null }>(
    'select active, former from tidegate.projections where name = $1 for update',
    [name],
  )
  const [row] = rows
  const wanted = back ? row?.former : version
  if (row === undefined || wanted === undefined || wanted === null)
    throw unknownVersion({ name, version: wanted ?? undefined })
  const { state } = await lockVersion(tx, { name, version: wanted })
  if (row.active === wanted) throw isActive({ name, version: wanted }, 'it is what readers see')
  if (state !== 'live') throw behind({ name, version: wanted }, state)
  await showVersion(tx, { name, version: wanted })
  await tx.query(
    'update tidegate.projections set former = active, active = $2, switched_at = clock_timestamp() where name = $1',
    [name, wanted],
  )
  return { name, version: wanted, former: row.active }
}

/** Has a version start at the beginning. @throws TidegateError `PROJECTION_UNKNOWN`, `PROJECTION_ACTIVE` */
export async function rebuildVersion(tx: Transaction, key: VersionKey): Promise<VersionKey> {
  await lockInactive(tx, key, 'its readers would see it empty: give what is to be built another version')
  await tx.query(
    `update tidegate.projection_versions
     set state = 'new', cursor = '', applied = 0, per_second = null, lag_seconds = null, live_at = null, cut = null, halted_at = null
     where name = $1 and version = $2`,
    [key.name, key.version],
  )
  return key
}

/** Takes a version away, with all that it has. @throws TidegateError `PROJECTION_UNKNOWN`, `PROJECTION_ACTIVE` */
export async function dropVersion(tx: Transaction, key: VersionKey): Promise<VersionKey> {
  await lockInactive(tx, key, 'switch to another first')
  const { name, version } = key
  await tx.query('select tidegate.drop_projection($1, $2)', [name, version])
  await tx.query('delete from tidegate.projection_versions where name = $1 and version = $2', [name, version])
  await tx.query('update tidegate.projections set former = null where name = $1 and former = $2', [
    name,
    version,
  ])
  return key
}

/**
 * Has a version that has stopped at an event try it again, or leave it out.
 * @throws TidegateError `PROJECTION_UNKNOWN`, `PROJECTION_NOT_HALTED`
 */
export async function resumeVersion(
  tx: Transaction,
  { skip, ...key }: VersionKey & { skip: boolean },
): Promise<VersionKey & { skipped: { source: string; id: string } | null }> {
  const { state } = await lockVersion(tx, key)
  if (state !== 'halted') throw notHalted(key)
  const { rows } = await tx.query<{ source: string; id: string }>(
    `update tidegate.projection_versions
     set state = 'building', halted_at = null, cursor = case when $3 then halted_cursor else cursor end,
         skipped = case when $3 then skipped || halted_cursor else skipped end
     where name = $1 and version = $2 returning halted_source as source, halted_id as id`,
    [key.name, key.version, skip],
  )
  return { ...key, skipped: skip ? (rows[0] ?? null) : null }
}

/** Waiting jobs of a version at most (G7). */
const jobsMax = 10

/** @throws TidegateError `PROJECTION_UNKNOWN`, `PROJECTION_JOBS_FULL` */
export async function askJob(
  tx: Transaction,
  { name, version, job, kind, device, sample }: VersionKey & Job,
): Promise<{ job: string }> {
  await lockVersion(tx, { name, version })
  await tx.query(
    `delete from tidegate.projection_jobs where ended_at < clock_timestamp() - interval '90 days'`,
  )
  const { rows } = await tx.query<{ waiting: number }>(
    'select count(*)::float8 as waiting from tidegate.projection_jobs where name = $1 and version = $2 and ended_at is null',
    [name, version],
  )
  if ((rows[0]?.waiting ?? 0) >= jobsMax) throw jobsFull({ name, version })
  await tx.query(
    'insert into tidegate.projection_jobs (job, name, version, kind, device, sample) values ($1, $2, $3, $4, $5, $6)',
    [job, name, version, kind, device ?? null, sample ?? null],
  )
  return { job }
}

/** The version that readers see. @throws TidegateError `PROJECTION_UNKNOWN` */
export async function activeVersion(tx: Transaction, name: string): Promise<number> {
  const sql = 'select active from tidegate.projections where name = $1'
  const { rows } = await tx.query<{ active: number }>(sql, [name])
  if (rows[0] === undefined) throw unknownVersion({ name, version: undefined })
  return rows[0].active
}

async function lockInactive(tx: Transaction, key: VersionKey, hint: string): Promise<void> {
  await tx.query('select from tidegate.projections where name = $1 for update', [key.name])
  const { active } = await lockVersion(tx, key)
  if (active === key.version) throw isActive(key, hint)
}

function unknownVersion({ name, version }: { name: string; version: number | undefined }): TidegateError {
  return new TidegateError('PROJECTION_UNKNOWN', {
    message:
      version === undefined
        ? `there is no such projection as ${name}`
        : `there is no projection ${name} ${version}`,
    retryable: false,
    hint: 'tidegate projections list shows them; one is made when a cloud starts that has it in its configuration',
  })
}

function isActive({ name, version }: VersionKey, hint: string): TidegateError {
  return new TidegateError('PROJECTION_ACTIVE', {
    message: `version ${version} of ${name} is active`,
    retryable: false,
    hint,
  })
}

function behind({ name, version }: VersionKey, state: VersionState): TidegateError {
  return new TidegateError('PROJECTION_BEHIND', {
    message: `projection ${name} ${version} is ${state}, and readers would see less than they do now`,
    retryable: false,
    hint: 'switch when it is live: tidegate projections status NAME says when that will be',
  })
}

function notHalted({ name, version }: VersionKey): TidegateError {
  return new TidegateError('PROJECTION_NOT_HALTED', {
    message: `projection ${name} ${version} has not stopped at an event`,
    retryable: false,
    hint: 'nothing is to be done',
  })
}

function jobsFull({ name, version }: VersionKey): TidegateError {
  return new TidegateError('PROJECTION_JOBS_FULL', {
    message: `${jobsMax} jobs wait for projection ${name} ${version} already`,
    retryable: true,
    hint: 'see whether an instance works at it: tidegate projections status NAME',
  })
}
