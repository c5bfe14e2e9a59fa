import type { Database } from '../../database/database-postgres.ts'
import type { ProjectionItem, ProjectionJob, ProjectionVersion } from '../rules/shapes.ts'
import { iso } from './where.ts'

// How far it is by the positions of what it has read and of the newest there was when it began: of history they count up.
const versionsSql = `
select v.name, v.version, v.state, v.applied::float8 as applied, v.per_second as "perSecond", v.lag_seconds + case when v.halted_at is null then 0 else extract(epoch from clock_timestamp() - v.halted_at) end as "lagSeconds",
  v.started_at as "startedAt", v.live_at as "liveAt", v.advanced_at as "advancedAt", v.holder,
  case when v.held_until > clock_timestamp() then v.held_until end as "heldUntil",
  case when v.live_at is not null then 1
       when v.cursor = '' or v.cut is null then 0
       else least(1, split_part(v.cursor, '.', 3)::float8 / greatest(1, split_part(v.cut, '.', 3)::float8)) end as share,
  v.halted_at as "haltedAt", v.halted_source as "haltedSource", v.halted_id as "haltedId", v.halted_type as "haltedType",
  v.halted_code as "haltedCode", v.halted_message as "haltedMessage",
  p.active, p.former, p.switched_at as "switchedAt", clock_timestamp() as now
from tidegate.projection_versions as v left join tidegate.projections as p using (name)
order by v.name, v.version limit 1000`

interface VersionRow extends Pick<
  ProjectionVersion,
  'state' | 'applied' | 'perSecond' | 'lagSeconds' | 'share'
> {
  name: string
  version: number
  startedAt: Date
  liveAt: Date | null
  advancedAt: Date | null
  holder: string | null
  heldUntil: Date | null
  haltedAt: Date | null
  haltedSource: string | null
  haltedId: string | null
  haltedType: string | null
  haltedCode: string | null
  haltedMessage: string | null
  active: number | null
  former: number | null
  switchedAt: Date | null
  now: Date
}

type Query = Database['query']

/** By name; there are few. */
export async function readProjections(query: Query): Promise<ProjectionItem[]> {
  const items = new Map<string, ProjectionItem>()
  for (const row of await query<VersionRow>(versionsSql)) {
    const { name, active, former, switchedAt } = row
    const item = items.get(name) ?? { name, active, former, switchedAt: iso(switchedAt), versions: [] }
    item.versions.push(versionOf(row))
    items.set(name, item)
  }
  return [...items.values()]
}

function versionOf(row: VersionRow): ProjectionVersion {
  const { version, state, applied, perSecond, lagSeconds, share, holder } = row
  return {
    version,
    state,
    isActive: row.active === version,
    applied,
    share,
    perSecond,
    lagSeconds,
    endsAt: endsAt(row),
    startedAt: iso(row.startedAt),
    liveAt: iso(row.liveAt),
    advancedAt: iso(row.advancedAt),
    holder: row.heldUntil === null ? null : holder,
    halted: row.haltedAt === null ? null : haltedOf(row),
  }
}

/** When building ends, if it goes on as it does. */
function endsAt({ state, applied, share, perSecond, now }: VersionRow): string | null {
  if (state !== 'building' || share <= 0 || share >= 1 || !perSecond) return null
  const left = (applied / share) * (1 - share)
  return new Date(now.getTime() + (left / perSecond) * 1000).toISOString()
}

function haltedOf(row: VersionRow): ProjectionVersion['halted'] {
  return {
    at: iso(row.haltedAt) ?? '',
    source: row.haltedSource ?? '',
    id: row.haltedId ?? '',
    type: row.haltedType ?? '',
    code: row.haltedCode ?? '',
    message: row.haltedMessage ?? '',
  }
}

interface JobRow {
  job: string
  name: string
  version: number
  kind: ProjectionJob['kind']
  device: string | null
  askedAt: Date
  endedAt: Date | null
  outcome: (NonNullable<ProjectionJob['outcome']> & { failed?: { code: string; message: string } }) | null
}

export async function readProjectionJob(query: Query, job: string): Promise<ProjectionJob | undefined> {
  const [row] = await query<JobRow>(
    `select job, name, version, kind, device, asked_at as "askedAt", ended_at as "endedAt", outcome
     from tidegate.projection_jobs where job = $1`,
    [job],
  )
  if (row === undefined) return undefined
  const { askedAt, endedAt, outcome, ...rest } = row
  const { failed, ...done } = outcome ?? {}
  return {
    ...rest,
    askedAt: iso(askedAt),
    endedAt: iso(endedAt),
    outcome: outcome === null || failed ? null : done,
    failed: failed?.code ?? null,
    message: failed?.message,
  }
}
