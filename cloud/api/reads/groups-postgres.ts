import type { Database } from '../../database/database-postgres.ts'
import { pageOf, placeOf } from '../rules/cursor.ts'
import type { GroupItem, ParkedItem } from '../rules/shapes.ts'
import type { Page, Paging, Scope } from './reads.ts'
import { iso, Where } from './where.ts'

// A group is one that somebody works for, that was told to wait, or of which something failed.
const groupsSql = `
with named as (
  select consumer_group from tidegate.members union select consumer_group from tidegate.group_states
  union select consumer_group from tidegate.failure_groups union select consumer_group from tidegate.parked_devices
), open as (
  select consumer_group, sum(open) as open from (
    select g.consumer_group, g.open from tidegate.failure_groups as g
    union all select g.consumer_group, c.open from tidegate.failure_counts as c join tidegate.failure_groups as g using (fingerprint)
  ) as counts group by 1
), parked as (select consumer_group, count(*) as devices from tidegate.parked_devices group by 1)
select n.consumer_group as "group", coalesce(s.state, 'running') as state, s.since, s.until, s.actor, s.reason,
  greatest(0, coalesce(o.open, 0))::float8 as "openLetters", coalesce(p.devices, 0)::float8 as "parkedDevices",
  array(select m.instance from tidegate.members as m where m.consumer_group = n.consumer_group order by 1) as instances,
  array(select m.seen_at from tidegate.members as m where m.consumer_group = n.consumer_group order by m.instance) as seen
from named as n left join tidegate.group_states as s
    on s.consumer_group = n.consumer_group and not (s.state = 'paused' and s.until <= clock_timestamp())
  left join open as o on o.consumer_group = n.consumer_group
  left join parked as p on p.consumer_group = n.consumer_group`

interface GroupRow {
  group: string
  state: GroupItem['state']['state']
  since: Date | null
  until: Date | null
  actor: string | null
  reason: string | null
  openLetters: number
  parkedDevices: number
  instances: string[]
  seen: Date[]
}

type ParkedRow = Omit<ParkedItem, 'since' | 'nextAt'> & { since: Date; next_at: Date }

type Query = Database['query']

/** By name; there are few. */
export async function readGroups(query: Query, { groups }: Scope): Promise<GroupItem[]> {
  const where = new Where().and('n.consumer_group = any(?::text[])', groups)
  const rows = await query<GroupRow>(`${groupsSql} ${where.sql} order by 1 limit 1000`, where.values)
  return rows.map(({ group, state, since, until, actor, reason, openLetters, parkedDevices, ...row }) => ({
    group,
    state: { state, since: iso(since), until: iso(until), actor, reason },
    instances: row.instances.map((instance, index) => ({ instance, seenAt: iso(row.seen[index] as Date) })),
    openLetters,
    parkedDevices,
  }))
}

/** By device. */
export async function readParked(
  query: Query,
  group: string,
  { limit, after }: Paging,
): Promise<Page<ParkedItem>> {
  const where = new Where().and('d.consumer_group = ?', group)
  if (after !== undefined) where.and('d.device > ?', placeOf('parked', after, [''])[0])
  const sql = `select d.device, d.since, d.state, d.attempt, d.next_at, d.code, d.message, c.events, c.overflowed
    from tidegate.parked_devices as d cross join lateral (
      select greatest(0, coalesce(sum(events), 0))::float8 as events, coalesce(bool_or(overflowed), false) as overflowed
      from tidegate.parked_counts as c where c.consumer_group = d.consumer_group and c.device = d.device
    ) as c ${where.sql} order by d.device limit ${where.value(limit + 1)}`
  const rows = await query<ParkedRow>(sql, where.values)
  const items = rows.map(({ since, next_at, ...row }) => ({
    ...row,
    since: iso(since),
    nextAt: iso(next_at),
  }))
  return pageOf('parked', items, { limit, place: ({ device }) => [device] })
}
