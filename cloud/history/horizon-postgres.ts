import type { Database } from '../database/database-postgres.ts'
import { type Cursor, cursorAheadIn } from './reader.ts'

/** The last event that can be read by now; empty: there is none. @throws TidegateError `DATABASE_*` */
export async function readHorizon(database: Pick<Database, 'query'>): Promise<Cursor> {
  const [row] = await database.query<{ horizon: string }>('select tidegate.horizon() as horizon')
  return row?.horizon ?? ''
}

/** @throws TidegateError `CURSOR_AHEAD`, `DATABASE_*` */
export async function checkCursor(database: Pick<Database, 'query'>, cursor: Cursor): Promise<void> {
  await database.query('select tidegate.check_cursor($1)', [cursor]).catch((error: unknown) => {
    throw cursorAheadIn(error)
  })
}

/** Who holds the horizon back. Of another user's session PostgreSQL shows state and times to members of `pg_read_all_stats` alone. */
export interface Holder {
  /** Undefined: a transaction that was prepared (PREPARE TRANSACTION) and has no session. */
  pid: number | undefined
  /** What the session calls itself, or the name of the prepared transaction. */
  application: string
  user: string
  database: string
  state: string | undefined
  /** When its transaction began. */
  since: Date | undefined
}

export interface Held {
  /** The oldest transaction that has not ended; undefined: every one has. */
  oldest: string | undefined
  /** Undefined: it is gone by now, or shows nowhere. */
  holder: Holder | undefined
}

// A session shows the 32 bits of a transaction's ID.
const heldSql = `
-- The newest of all may be under way as well: then nothing is behind it.
select case when l.oldest < pg_snapshot_xmax(l.snapshot) or h.application is not null then l.oldest::text end as oldest, h.*
from (select s as snapshot, pg_snapshot_xmin(s) as oldest from pg_current_snapshot() as s) as l
left join lateral (
  select pid, application_name as application, usename::text as "user", datname::text as database, state, xact_start as since
  from pg_stat_activity where backend_xid = (l.oldest::text::numeric % 4294967296)::text::xid
  union all
  select null, gid, owner::text, database::text, 'prepared', prepared
  from pg_prepared_xacts where transaction = (l.oldest::text::numeric % 4294967296)::text::xid
  limit 1) as h on true`

type Row = { oldest: string | null } & { [Name in keyof Holder]: Exclude<Holder[Name], undefined> | null }

/** @throws TidegateError `DATABASE_*` */
export async function readHeld(database: Pick<Database, 'query'>): Promise<Held> {
  const [row] = await database.query<Row>(heldSql)
  if (row === undefined || row.oldest === null) return { oldest: undefined, holder: undefined }
  const { oldest, pid, application, user, database: of, state, since } = row
  if (application === null) return { oldest, holder: undefined }
  const holder = {
    pid: pid ?? undefined,
    application,
    user: user ?? '',
    database: of ?? '',
    state: state ?? undefined,
    since: since ?? undefined,
  }
  return { oldest, holder }
}
