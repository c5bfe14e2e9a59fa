import { TidegateError } from '../../src/errors.ts'
import type { Transaction } from '../database/storage.ts'
import type { Job, VersionKey, VersionState } from './versions.ts'
import { compareCursors } from '../history/reader.ts'
import { quietly } from './schema-postgres.ts'
import { refuseFewer, refuseShorter } from './shorter-postgres.ts'
import { showVersion } from './view-postgres.ts'

/** What people do to versions, each within the transaction of its deed. */

interface Known {
  state: VersionState
  active: number | null
  cursor: string
  holder: string | null
  /** By a lease that has not run out. */
  isHeld: boolean
  haltedCursor: string | null
  haltedSource: string | null
  haltedId: string | null
}

const knownSql = `
select v.state, p.active, v.cursor, v.holder, v.held_until > clock_timestamp() as "isHeld",
  v.halted_cursor as "haltedCursor", v.halted_source as "haltedSource", v.halted_id as "haltedId"
from tidegate.projection_versions as v left join tidegate.projections as p using (name)
where v.name = $1 and v.version = $2 for update of v`

/** Waits for the batch that is under way, and not for long. @throws TidegateError `PROJECTION_UNKNOWN`, `PROJECTION_IN_USE` */
async function lockVersion(tx: Transaction, { name, version }: VersionKey): Promise<Known> {
  const { rows } = await quietly(tx, name, () => tx.query<Known>(knownSql, [name, version]))
  if (rows[0] === undefined) throw unknownVersion({ name, version })
  return rows[0]
}

interface Switch {
  name: string
  version?: number | undefined
  back?: boolean | undefined
  /** However far behind it is, and if nobody works at it. */
  force?: boolean | undefined
}

/**
 * Has readers see another version.
 * @throws TidegateError `PROJECTION_UNKNOWN`, `PROJECTION_BEHIND`, `PROJECTION_UNHELD`, `PROJECTION_ACTIVE`, `PROJECTION_IN_USE`, `PROJECTION_VIEW_USED`,
 *   `PROJECTION_HISTORY_SHORTER`
 */
export async function switchVersion(
  tx: Transaction,
  { name, version, back, force }: Switch,
): Promise<{ name: string; version: number; former: number }> {
  const sql = 'select active, former from tidegate.projections where name = $1 for update'
  const { rows } = await quietly(tx, name, () =>
    tx.query<{ active: number; former: number | null }>(sql, [name]),
  )
  const [row] = rows
  const wanted = back ? row?.former : version
  if (row === undefined || wanted === undefined || wanted === null)
    throw unknownVersion({ name, version: wanted ?? undefined })
  const known = await lockVersion(tx, { name, version: wanted })
  if (row.active === wanted) throw isActive({ name, version: wanted }, 'it is what readers see')
  const { state } = known
  if (state === 'new' || (state !== 'live' && !force)) throw behind({ name, version: wanted }, `is ${state}`)
  if (!force) {
    await refuseWorse(tx, { name, version: wanted }, known)
    await refuseFewer(tx, { name, version: wanted }, row.active)
  }
  await showVersion(tx, { name, version: wanted })
  await tx.query(
    'update tidegate.projections set former = active, active = $2, switched_at = clock_timestamp() where name = $1',
    [name, wanted],
  )
  return { name, version: wanted, former: row.active }
}

/** Longer than a version that is at work needs for the newest events. */
const behindSecondsMax = 10

// Behind is whom an event waits for, that is of its types: a cursor stays where the last of them was.
const behindSql = `
select extract(epoch from clock_timestamp() - e.stored_time)::float8 as seconds, a.cursor as "activeCursor"
from tidegate.projection_versions as v
  join tidegate.projections as p using (name)
  left join tidegate.projection_versions as a on a.name = p.name and a.version = p.active
  cross join lateral tidegate.read_events(v.cursor, v.types, 1) as e
where v.name = $1 and v.version = $2`

/** Whether readers would see less than now, or soon will: because nobody works at it, or it is behind, also behind what they see now. */
async function refuseWorse(tx: Transaction, key: VersionKey, { cursor, isHeld }: Known): Promise<void> {
  if (!isHeld) throw unheld(key)
  const { rows } = await tx.query<{ seconds: number; activeCursor: string | null }>(behindSql, [
    key.name,
    key.version,
  ])
  const [next] = rows
  if (next === undefined || next.seconds < behindSecondsMax) return
  if (compareCursors(cursor, next.activeCursor ?? '') < 0)
    throw behind(key, `is ${Math.round(next.seconds)} s behind`)
}

/**
 * Has a version start at the beginning; `force`: of what history has still.
 * @throws TidegateError `PROJECTION_UNKNOWN`, `PROJECTION_ACTIVE`, `PROJECTION_HISTORY_SHORTER`
 */
export async function rebuildVersion(
  tx: Transaction,
  { force, ...key }: VersionKey & { force?: boolean | undefined },
): Promise<VersionKey> {
  await lockInactive(tx, key, 'its readers would see it empty: give what is to be built another version')
  if (!force) await refuseShorter(tx, key)
  await tx.query(
    `update tidegate.projection_versions
     set state = 'new', cursor = '', applied = 0, per_second = null, lag_seconds = null, live_at = null, cut = null,
       halted_at = null, halted_cursor = null, halted_source = null, halted_id = null, halted_type = null, halted_code = null, halted_message = null
     where name = $1 and version = $2`,
    [key.name, key.version],
  )
  return key
}

/** Takes a version away, with all that it has. @throws TidegateError `PROJECTION_UNKNOWN`, `PROJECTION_ACTIVE`, `PROJECTION_HELD`, `PROJECTION_IN_USE` */
export async function dropVersion(tx: Transaction, key: VersionKey): Promise<VersionKey> {
  const { isHeld, holder } = await lockInactive(tx, key, 'switch to another first')
  if (isHeld) throw held(key, holder)
  const { name, version } = key
  await quietly(tx, name, () => tx.query('select tidegate.drop_projection($1, $2)', [name, version]))
  await tx.query('delete from tidegate.projection_versions where name = $1 and version = $2', [name, version])
  await tx.query('update tidegate.projections set former = null where name = $1 and former = $2', [
    name,
    version,
  ])
  return key
}

/**
 * Has a version that has stopped at an event try it again, or leave it out: `skip` is its ID.
 * @throws TidegateError `PROJECTION_UNKNOWN`, `PROJECTION_NOT_HALTED`, `PROJECTION_HALTED_ELSEWHERE`
 */
export async function resumeVersion(
  tx: Transaction,
  { skip, ...key }: VersionKey & { skip?: string | undefined },
): Promise<VersionKey & { skipped: { source: string; id: string } | null }> {
  const { state, cursor, haltedCursor, haltedSource, haltedId } = await lockVersion(tx, key)
  // An event that is not ahead of where it stands is none that it has stopped at.
  if (state !== 'halted' || !haltedCursor || compareCursors(haltedCursor, cursor) <= 0) throw notHalted(key)
  if (skip !== undefined && skip !== haltedId) throw haltedElsewhere(key, `${haltedId} of ${haltedSource}`)
  await tx.query(
    `update tidegate.projection_versions
     set state = 'building', halted_at = null, halted_cursor = null, cursor = case when $3 then halted_cursor else cursor end,
         skipped = case when $3 then skipped || halted_cursor else skipped end
     where name = $1 and version = $2`,
    [key.name, key.version, skip !== undefined],
  )
  return { ...key, skipped: skip === undefined ? null : { source: haltedSource ?? '', id: skip } }
}

/** Waiting jobs of a version at most (G7). */
const jobsMax = 10

/** `force`: a device is built anew of what history has still. @throws TidegateError `PROJECTION_UNKNOWN`, `PROJECTION_JOBS_FULL`, `PROJECTION_HISTORY_SHORTER` */
export async function askJob(
  tx: Transaction,
  { name, version, job, kind, device, sample, force }: VersionKey & Job & { force?: boolean | undefined },
): Promise<{ job: string }> {
  await lockVersion(tx, { name, version })
  if (kind === 'rebuild-device' && !force) await refuseShorter(tx, { name, version }, device)
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

async function lockInactive(tx: Transaction, key: VersionKey, hint: string): Promise<Known> {
  const sql = 'select from tidegate.projections where name = $1 for update'
  await quietly(tx, key.name, () => tx.query(sql, [key.name]))
  const known = await lockVersion(tx, key)
  if (known.active === key.version) throw isActive(key, hint)
  return known
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

function behind({ name, version }: VersionKey, how: string): TidegateError {
  return new TidegateError('PROJECTION_BEHIND', {
    message: `projection ${name} ${version} ${how}, and readers would see less than they do now`,
    retryable: false,
    hint: 'switch when it is live: tidegate projections status NAME says when that will be; --force does not wait for it',
  })
}

function unheld({ name, version }: VersionKey): TidegateError {
  return new TidegateError('PROJECTION_UNHELD', {
    message: `no instance works at projection ${name} ${version}: readers would see nothing that comes from now on`,
    retryable: false,
    hint: 'put its module into the configuration of a cloud, and ask again when it works; --force does not wait for it',
  })
}

function held({ name, version }: VersionKey, holder: string | null): TidegateError {
  return new TidegateError('PROJECTION_HELD', {
    message: `the instance ${holder} works at projection ${name} ${version}, and would make it again`,
    retryable: false,
    hint: 'take its module out of the configuration of every cloud, start them again, then drop it',
  })
}

function haltedElsewhere({ name, version }: VersionKey, event: string): TidegateError {
  return new TidegateError('PROJECTION_HALTED_ELSEWHERE', {
    message: `projection ${name} ${version} has not stopped at that event, but at ${event}`,
    retryable: false,
    hint: 'look at that event, and name it if it is to be left out: tidegate projections status NAME',
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
