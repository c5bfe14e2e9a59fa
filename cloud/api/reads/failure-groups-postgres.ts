import type { Database } from '../../database/database-postgres.ts'
import { pageOf, placeOf } from '../rules/cursor.ts'
import type { FailureGroup } from '../rules/shapes.ts'
import type { FailureGroupsAsked, Page, Scope, Versioned } from './reads.ts'
import { fromMicros, iso, microsOf, Where } from './where.ts'

const columns = `g.fingerprint, g.consumer_group as "group", g.code, g.type, g.message, g.frame, g.first_seen, g.last_seen,
  (g.letters + coalesce(c.letters, 0))::float8 as letters, (g.open + coalesce(c.open, 0))::float8 as open, g.status,
  g.first_version, g.last_version, g.resolved_version, g.note, g.owner, g.issue,
  ${microsOf('g.last_seen')} as seen_micros, ${microsOf('g.changed_at')} as row_version`

/** With what is not folded into them yet: their counts are exact together. */
const from = `tidegate.failure_groups as g left join (
    select fingerprint, sum(letters) as letters, sum(open) as open from tidegate.failure_counts group by fingerprint
  ) as c using (fingerprint)`

interface Row {
  fingerprint: string
  group: string
  code: string
  type: string | null
  message: string
  frame: string | null
  first_seen: Date
  last_seen: Date
  letters: number
  open: number
  status: FailureGroup['status']
  first_version: string | null
  last_version: string | null
  resolved_version: string | null
  note: string | null
  owner: string | null
  issue: string | null
  seen_micros: string
  row_version: string
}

type Query = Database['query']

const list = 'failure-groups'

/** Those that were seen last first. */
export async function readFailureGroups(
  query: Query,
  asked: FailureGroupsAsked,
  scope: Scope,
): Promise<Page<FailureGroup>> {
  const { limit, status } = asked
  const where = scoped(scope).and('g.consumer_group = ?', asked.group).and('g.code = ?', asked.code)
  if (status === undefined) where.always(`g.status <> 'muted' and g.open + coalesce(c.open, 0) > 0`)
  else if (status !== 'all') where.and('g.status = ?', status)
  if (asked.after !== undefined) {
    const [micros, fingerprint] = placeOf(list, asked.after, ['', ''])
    const seen = fromMicros(where.value(/^\d{1,18}$/.test(micros) ? micros : '0'))
    where.and(`(g.last_seen, g.fingerprint) < (${seen}, ?)`, fingerprint)
  }
  const sql = `select ${columns} from ${from} ${where.sql} order by g.last_seen desc, g.fingerprint desc limit ${where.value(limit + 1)}`
  const rows = await query<Row>(sql, where.values)
  const { items, next } = pageOf(list, rows, {
    limit,
    place: ({ seen_micros, fingerprint }) => [seen_micros, fingerprint],
  })
  return { items: items.map(groupOf), next }
}

export async function readFailureGroup(
  query: Query,
  fingerprint: string,
  scope: Scope,
): Promise<Versioned<FailureGroup> | undefined> {
  const where = scoped(scope).and('g.fingerprint = ?', fingerprint)
  const [row] = await query<Row>(`select ${columns} from ${from} ${where.sql}`, where.values)
  return row && { item: groupOf(row), version: row.row_version }
}

function scoped({ groups, types }: Scope): Where {
  return new Where().and('g.consumer_group = any(?::text[])', groups).and('g.type = any(?::text[])', types)
}

function groupOf(row: Row): FailureGroup {
  const { fingerprint, group, code, type, message, frame, letters, open, status, note, owner, issue } = row
  return {
    fingerprint,
    group,
    code,
    type,
    message,
    frame,
    firstSeen: iso(row.first_seen),
    lastSeen: iso(row.last_seen),
    letters,
    // A letter may be counted as closed before another is counted as written.
    open: Math.max(0, open),
    status,
    firstVersion: row.first_version,
    lastVersion: row.last_version,
    resolvedVersion: row.resolved_version,
    note,
    owner,
    issue,
  }
}
