import { TidegateError } from '../../src/errors.ts'
import type { Database } from '../database/database-postgres.ts'
import type { Statements } from '../database/statements.ts'
import type { Job, Lease, Leases, Poison, VersionKey, VersionsIn, VersionState } from './versions.ts'

const registerSql = `
insert into tidegate.projection_versions (name, version, definition, types) values ($1, $2, $3, $4) on conflict do nothing`

// Whoever is amid a transaction has the row locked, and is not to be waited for: it is at work.
const takeSql = `
update tidegate.projection_versions as v
set token = v.token + 1, holder = $3, held_until = clock_timestamp() + make_interval(secs => $4::float8 / 1000)
from (select name, version from tidegate.projection_versions
      where name = $1 and version = $2 and held_until < clock_timestamp() for update skip locked) as free
where v.name = free.name and v.version = free.version
returning v.token::text as token`

const renewSql = `
update tidegate.projection_versions set held_until = clock_timestamp() + make_interval(secs => $4::float8 / 1000)
where name = $1 and version = $2 and token = $3 returning name`

const leaveSql = `
update tidegate.projection_versions set holder = null, held_until = '-infinity'
where name = $1 and version = $2 and token = $3`

// A job takes longer than a lease is, and its holder works: it is nobody's only after that.
const unheldSql = `
select v.name, v.version from tidegate.projections as p join tidegate.projection_versions as v on v.name = p.name and v.version = p.active
where v.held_until < clock_timestamp() - make_interval(secs => $1::float8 / 1000) order by v.name limit 100`

/** Versions that readers see and that no instance has worked at for so long. */
export function readUnheld(database: Pick<Database, 'query'>, forMs: number): Promise<VersionKey[]> {
  return database.query<VersionKey>(unheldSql, [forMs])
}

export interface LeasesOptions {
  database: Pick<Database, 'query'>
  instance: string
  leaseMs: number
}

/** Leases by rows and the database's clock: clocks of instances may differ. */
export function postgresLeases({ database, instance, leaseMs }: LeasesOptions): Leases {
  return {
    async register({ name, version }, { definition, types }) {
      await database.query(registerSql, [name, version, definition, types ?? null])
      const [known] = await database.query<{ definition: string }>(
        'select definition from tidegate.projection_versions where name = $1 and version = $2',
        [name, version],
      )
      if (known && known.definition !== definition) throw changed({ name, version })
    },
    async take({ name, version }) {
      const [row] = await database.query<{ token: string }>(takeSql, [name, version, instance, leaseMs])
      return row && { name, version, token: BigInt(row.token) }
    },
    async renew(lease) {
      const rows = await database.query(renewSql, [...valuesOf(lease), leaseMs])
      return rows.length === 1
    },
    async leave(lease) {
      await database.query(leaveSql, valuesOf(lease))
    },
  }
}

// The row is this transaction's until it ends; and only if the lease is: a rival has another token by then.
const lockSql = `
select state, cursor, halted_cursor, halted_source, halted_id, halted_type, halted_code, halted_message
from tidegate.projection_versions where name = $1 and version = $2 and token = $3 for update`

const advanceSql = `
update tidegate.projection_versions
set cursor = $4, applied = applied + $5, per_second = $6, lag_seconds = $7, advanced_at = clock_timestamp(),
    held_until = clock_timestamp() + make_interval(secs => $9::float8 / 1000),
    state = case when $8 then 'live' when state = 'halted' then 'building' else state end, halted_at = null, halted_cursor = null,
    live_at = case when $8 then coalesce(live_at, clock_timestamp()) else live_at end
where name = $1 and version = $2 and token = $3`

const haltSql = `
update tidegate.projection_versions
set state = 'halted', halted_at = clock_timestamp(), halted_cursor = $4, halted_source = $5, halted_id = $6, halted_type = $7,
    halted_code = $8, halted_message = $9,
    lag_seconds = (select greatest(0, extract(epoch from clock_timestamp() - e.stored_time)) from tidegate.events as e
      where e.position = split_part($4, '.', 3)::bigint and e.tx = split_part($4, '.', 2)::xid8)
where name = $1 and version = $2 and token = $3 and state = $10 and cursor = $11 returning name`

// How far there is to go: the newest event there is now.
const buildSql = `
update tidegate.projection_versions
set state = 'building', cursor = '', applied = 0, started_at = clock_timestamp(), live_at = null, skipped = '{}',
    cut = (select era || '.' || tx || '.' || position from tidegate.events order by era desc, tx desc, position desc limit 1)
where name = $1 and version = $2 and token = $3`

const wantedSql = `
select exists (select from tidegate.projection_jobs where name = $1 and version = $2 and ended_at is null)
  or not exists (select from tidegate.projection_versions
                 where name = $1 and version = $2 and token = $3 and cursor = $4 and state = 'live')`

const nextJobSql = `
select job, kind, device, sample from tidegate.projection_jobs
where name = $1 and version = $2 and ended_at is null order by asked_at, job limit 1`

type LockedRow = [
  state: VersionState,
  cursor: string,
  haltedCursor: string,
  source: string,
  id: string,
  type: string,
  code: string,
  message: string,
]
type JobRow = [job: string, kind: Job['kind'], device: string | null, sample: number | null]

export function postgresVersions(statements: Statements, leaseMs: number): VersionsIn {
  return {
    async lock(lease) {
      const [row] = await statements.run<LockedRow>('projection-lock', lockSql, valuesOf(lease))
      if (row === undefined) throw leaseLost(lease)
      const [state, cursor] = row
      return { state, cursor, poison: state === 'halted' ? poisonIn(row) : undefined }
    },
    async isWanted(lease, cursor) {
      const values = [...valuesOf(lease), cursor]
      const [row] = await statements.run<[boolean]>('projection-wanted', wantedSql, values)
      return row?.[0] === true
    },
    async advance(lease, { cursor, applied, perSecond, lagMs, live }) {
      const values = [...valuesOf(lease), cursor, applied, perSecond, lagMs / 1000, live, leaseMs]
      await statements.run('projection-advance', advanceSql, values)
    },
    async halt(lease, at, { cursor, source, id, type, code, message }) {
      const values = [...valuesOf(lease), cursor, source, id, type, code, message, at.state, at.cursor]
      return (await statements.run('projection-halt', haltSql, values)).length === 1
    },
    async build(lease) {
      await statements.run('projection-build', buildSql, valuesOf(lease))
    },
    async nextJob({ name, version }) {
      const [row] = await statements.run<JobRow>('projection-job', nextJobSql, [name, version])
      if (row === undefined) return undefined
      const [job, kind, device, sample] = row
      return { job, kind, device: device ?? undefined, sample: sample ?? undefined }
    },
    async endJob(job, outcome) {
      await statements.run(
        'projection-job-end',
        'update tidegate.projection_jobs set ended_at = clock_timestamp(), outcome = $2 where job = $1 and ended_at is null',
        [job, JSON.stringify(outcome)],
      )
    },
  }
}

function valuesOf({ name, version, token }: Lease): [string, number, string] {
  return [name, version, String(token)]
}

function poisonIn([, , cursor, source, id, type, code, message]: LockedRow): Poison {
  return { cursor, source, id, type, code, message }
}

function leaseLost({ name, version }: VersionKey): TidegateError {
  return new TidegateError('PROJECTION_LEASE_LOST', {
    message: `another instance works at projection ${name} ${version}`,
    retryable: true,
    hint: 'nothing: this one stands by',
  })
}

function changed({ name, version }: VersionKey): TidegateError {
  return new TidegateError('PROJECTION_CHANGED', {
    message: `projection ${name} ${version} was built with other tables, events or upcasters than there are now`,
    retryable: false,
    hint: 'give it another version, which is built beside; or take the module, or the upcasters in schemas.folder, back to what they were',
  })
}
