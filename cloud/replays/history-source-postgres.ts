import { TidegateError } from '../../src/errors.ts'
import type { Transaction } from '../database/storage.ts'
import type { HistoryPage, HistoryPages } from './history-pages.ts'
import type { ClaimedReplay, HistorySelection, ReplayedEvent } from './replays.ts'

/** History as the source of a replay: what is on record of how far it is, and the next page. */
export interface HistorySource {
  take(tx: Transaction, claimed: ClaimedReplay, max: number): Promise<ReplayedEvent[]>
}

const ownSql = `
select coalesce(cursor #>> '{}', '') as cursor, page_next as "pageNext", through_cursor as through, state
from tidegate.replays where replay = $1 and claim = $2 and ended_at is null for update`

// Where there is nothing to send it is passed over at once. As many positions as it is behind the first: of whatever filter.
const pageSql = `
update tidegate.replays set
  page_next = case when $3 > 0 then $2 end, page_events = case when $3 > 0 then $3 end,
  cursor = case when $3 > 0 then cursor else to_json($2::text) end,
  looked = case when $3 > 0 then looked else least(total, greatest(0, nullif(split_part($2, '.', 3), '')::bigint - first_position)) end,
  exhausted = $4, moved_at = case when $3 > 0 or coalesce(cursor #>> '{}', '') <> $2 then clock_timestamp() else moved_at end
where replay = $1`

/** The cursor moves behind what the broker has confirmed, and never before (G5). */
export const historySentSql = `
update tidegate.replays set cursor = to_json(page_next), sent = sent + page_events, step_sent = step_sent + page_events,
  looked = least(total, greatest(0, split_part(page_next, '.', 3)::bigint - first_position)),
  page_next = null, page_events = null, moved_at = clock_timestamp()
where replay = $1 and claim = $2 and page_next is not null`

/** Of a page that is open its events count as sent, and as those of which nothing is known; the cursor stays in front of them. Without one it is all that nothing was heard of. */
export const historyGiveBackSql = `
with own as (
  select replay, case when page_next is null then greatest(0, sent - resolved - failed - repeats - returned) else page_events end as back, coalesce(page_events, 0) as open
  from tidegate.replays where replay = $1 and claim = $2 for update)
update tidegate.replays as r set returned = r.returned + own.back, sent = r.sent + own.open, step_sent = r.step_sent + own.open,
  page_next = null, page_events = null, moved_at = clock_timestamp()
from own where r.replay = own.replay returning own.back::float8 as returned`

const beyondSql = `
update tidegate.replays set state = 'stopping', reason = 'REPLAY_BEYOND_INBOX: ' || $2 where replay = $1 and state = 'running'`

// A day more: clocks of gateways are somewhat ahead. A group may have had an event long before history stored it, and not before it was recorded. What was claimed before there were weeks is not counted on.
const rememberedSql = `
with kept as (select min(from_time) as since from tidegate.inbox_weeks where forgotten_at is null and name <> 'inbox')
select (extract(epoch from kept.since + interval '1 day') * 1000)::float8 as "fromMs" from kept, tidegate.inbox_groups as g
where g.name = $1 and g.since < kept.since`

/** Since when what was recorded is surely known to the inbox of a group, if it was processed; undefined: since the group began. */
export async function rememberedFrom(tx: Transaction, group: string): Promise<number | undefined> {
  const { rows } = await tx.query<{ fromMs: number }>(rememberedSql, [group])
  return rows[0]?.fromMs
}

/** What the inbox has forgotten would have its effect again, and nobody has asked for that. */
export function beyondInbox(group: string, rememberedFromMs: number): TidegateError {
  return new TidegateError('REPLAY_BEYOND_INBOX', {
    message: `the inbox of ${group} remembers what was recorded since ${new Date(rememberedFromMs).toISOString()}, and older events, if it has processed them, would have their effect again`,
    retryable: false,
    hint: 'if that is what you want say so with a generation (--generation 2026-fix); else begin later (--from, --after)',
  })
}

/** As it is kept: `history` is no condition on letters, so that no former version takes it for a replay of such. */
export function filterToKeep({ group, ...history }: HistorySelection): object {
  return { group, history }
}

export function historyIn(
  filter: object,
  generation: string | null,
): { history: HistorySelection; generation?: string } {
  const { group, history } = filter as { group: string; history: Omit<HistorySelection, 'group'> }
  return { history: { group, ...history }, ...(generation !== null && { generation }) }
}

/** What groups take of history. */
export interface Taken {
  wants: (group: string, type: string) => boolean
  /** Undefined: not known here. */
  patterns: (group: string) => readonly string[] | undefined
}

export function historySource(pages: HistoryPages, { wants, patterns }: Taken): HistorySource {
  return {
    async take(tx, { replay, claim, request }, max) {
      const { history: selection } = request
      if (selection === undefined) return []
      const { rows } = await tx.query<OwnRow>(ownSql, [replay, claim])
      const [own] = rows
      if (!own || (own.pageNext === null && own.state !== 'running')) return []
      const { group } = selection
      const asked = {
        after: own.cursor,
        through: own.through,
        selection,
        wants: (type: string) => wants(group, type),
        patterns: patterns(group),
        max,
      }
      const { generation } = request
      const page = own.pageNext === null ? await pages.read(tx, asked) : undefined
      const events =
        page?.events ?? (await readAgain(pages, tx, { ...asked, upTo: own.pageNext ?? undefined }))
      // Also of a page that was open for long.
      const rememberedFromMs = generation === undefined ? await rememberedFrom(tx, group) : undefined
      if (rememberedFromMs !== undefined && events.some(({ earliestMs }) => earliestMs < rememberedFromMs)) {
        await tx.query(beyondSql, [replay, beyondInbox(group, rememberedFromMs).message])
        return []
      }
      if (page) await tx.query(pageSql, [replay, page.next, events.length, page.exhausted])
      return events.map((event) => ({ ...event, group, generation }))
    },
  }
}

interface OwnRow {
  cursor: string
  pageNext: string | null
  through: string
  state: string
}

/** A page that was taken before, and perhaps not sent: history is as it was, behind the horizon. */
async function readAgain(
  pages: HistoryPages,
  tx: Transaction,
  asked: Parameters<HistoryPages['read']>[1],
): Promise<HistoryPage['events']> {
  const events = []
  for (let { after } = asked, more = true; more;) {
    const page = await pages.read(tx, { ...asked, after })
    events.push(...page.events)
    ;({ next: after, more } = page)
  }
  return events
}
