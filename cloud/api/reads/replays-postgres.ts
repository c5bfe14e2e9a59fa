import type { Database } from '../../database/database-postgres.ts'
import { pageOf, placeOf } from '../rules/cursor.ts'
import type { DeedItem, ReplayItem } from '../rules/shapes.ts'
import type { Page, Paging } from './reads.ts'
import { fromMicros, iso, microsOf, Where } from './where.ts'

const replayColumns = `r.replay::float8 as replay, r.deed::text as deed, d.actor, d.reason as why, r.source, r.filter, r.generation, r.rate as "ratePerSecond",
  r.ramp, r.stop_at_share as "stopAtShare", r.state, r.reason, r.total::float8 as total, r.sent::float8 as sent,
  r.resolved::float8 as resolved, r.failed::float8 as failed, r.repeats::float8 as repeats,
  case when r.source <> 'letters' then r.looked::float8 end as looked, case when r.source <> 'letters' then r.cursor #>> '{}' end as cursor,
  r.started_at, r.ended_at`

type ReplayRow = Omit<ReplayItem, 'startedAt' | 'endedAt'> & { started_at: Date; ended_at: Date | null }

type DeedRow = Omit<DeedItem, 'at'> & { at: Date; at_micros: string }

type Query = Database['query']

/** Newest first. */
export async function readReplays(query: Query, { limit, after }: Paging): Promise<Page<ReplayItem>> {
  const where = new Where()
  if (after !== undefined) where.and('r.replay < ?', placeOf('replays', after, [0])[0])
  const sql = `select ${replayColumns} from tidegate.replays as r join tidegate.deeds as d using (deed)
    ${where.sql} order by r.replay desc limit ${where.value(limit + 1)}`
  const rows = await query<ReplayRow>(sql, where.values)
  return pageOf('replays', rows.map(replayOf), { limit, place: ({ replay }) => [replay] })
}

export async function readReplay(query: Query, replay: number): Promise<ReplayItem | undefined> {
  const sql = `select ${replayColumns} from tidegate.replays as r join tidegate.deeds as d using (deed) where r.replay = $1`
  const [row] = await query<ReplayRow>(sql, [replay])
  return row && replayOf(row)
}

function replayOf({ started_at, ended_at, ...row }: ReplayRow): ReplayItem {
  return { ...row, startedAt: iso(started_at), endedAt: iso(ended_at) }
}

/** Newest first. */
export async function readDeeds(
  query: Query,
  { limit, after, actor }: Paging & { actor?: string | undefined },
): Promise<Page<DeedItem>> {
  const where = new Where().and('actor = ?', actor)
  if (after !== undefined) {
    const [micros, deed] = placeOf('deeds', after, ['', ''])
    const at = fromMicros(where.value(/^\d{1,18}$/.test(micros) ? micros : '0'))
    where.and(`(at, deed::text) < (${at}, ?)`, deed)
  }
  const sql = `select deed::text as deed, at, actor, roles, verb, reason, request, outcome, ${microsOf('at')} as at_micros
    from tidegate.deeds ${where.sql} order by at desc, deed::text desc limit ${where.value(limit + 1)}`
  const rows = await query<DeedRow>(sql, where.values)
  const { items, next } = pageOf('deeds', rows, { limit, place: ({ at_micros, deed }) => [at_micros, deed] })
  return {
    items: items.map(({ deed, at, actor, roles, verb, reason, request, outcome }) => ({
      deed,
      at: iso(at),
      actor,
      roles,
      verb,
      reason,
      request,
      outcome,
    })),
    next,
  }
}
