import { deviceSource } from '../../src/contract/event.ts'
import { TidegateError } from '../../src/errors.ts'
import type { Transaction } from '../database/storage.ts'
import { compareCursors, cursorAheadIn, cursorFault, isCursor } from '../history/reader.ts'
import { postgresPages } from '../history/replay-pages-postgres.ts'
import { beyondInbox, filterToKeep, rememberedFrom } from '../replays/history-source-postgres.ts'
import { isGeneration } from '../replays/replayed.ts'
import type { HistorySelection, ReplayPace } from '../replays/replays.ts'
import { deedInvalid } from './deed-record.ts'
import type { Deed, GroupKnown, HistoryPreview, ReplayStarted } from './deeds.ts'

export interface HistoryRequest extends ReplayPace {
  history: HistorySelection
  generation?: string | undefined
}

const groupSql = `select exists (select from tidegate.members where consumer_group = $1) as "isThere"`

/** @throws TidegateError `GROUP_UNKNOWN`, `REPLAY_TO_HISTORY`, `GENERATION_INAPPLICABLE`, `REPLAY_BEYOND_INBOX`, `CURSOR_INVALID`, `DEED_INVALID` */
async function refuseUnfit(
  tx: Transaction,
  { history, generation }: Pick<HistoryRequest, 'history' | 'generation'>,
  known: GroupKnown,
): Promise<void> {
  const { group, after = '' } = history
  if (group === 'history') throw toHistory()
  const dedup = known(group)
  if (dedup === undefined) {
    const { rows } = await tx.query<{ isThere: boolean }>(groupSql, [group])
    if (rows[0]?.isThere !== true) throw groupUnknown(group)
  }
  if (generation !== undefined && !isGeneration(generation))
    throw deedInvalid('a generation has 1 to 64 letters, digits and ._-, the first a letter or a digit')
  if (generation !== undefined && dedup === 'own') throw inapplicable(group)
  if (!isCursor(after)) throw cursorFault()
  if (generation === undefined) await refuseForgotten(tx, history)
}

const firstSql = `
select (extract(epoch from least(stored_time, recorded_time)) * 1000)::float8 as "earliestMs" from tidegate.read_events($1, null, 1)`

/** What can be seen at once; what comes up on the way stops the replay. */
async function refuseForgotten(
  tx: Transaction,
  { group, after = '', fromMs }: HistorySelection,
): Promise<void> {
  const rememberedFromMs = await rememberedFrom(tx, group)
  if (rememberedFromMs === undefined || (fromMs !== undefined && fromMs >= rememberedFromMs)) return
  const { rows } = await tx.query<{ earliestMs: number }>(firstSql, [after]).catch((error: unknown) => {
    throw cursorAheadIn(error)
  })
  const [first] = rows
  if (first && first.earliestMs < rememberedFromMs) throw beyondInbox(group, rememberedFromMs)
}

const startSql = `
insert into tidegate.replays
  (deed, source, generation, filter, rate, ramp, stop_at_share, state, through, through_cursor, cursor, first_position, total)
select $1, 'history', $2, $3, $4, $5, $6, 'running', 0, $7, to_json($8::text), p.first - 1, greatest(0, p.last - p.first + 1)
from (select coalesce((select position from tidegate.read_events($8, null, 1)), nullif(split_part($8, '.', 3), '')::bigint + 1, 1) as first,
             coalesce((select max(position) from tidegate.events), 0) as last) as p
returning replay::float8 as replay, total::float8 as total`

/** Puts it on record: the replayer of an instance that has the group finds it there. Everything that is stored by now is of it. */
export async function startHistoryReplay(
  tx: Transaction,
  deed: Deed<HistoryRequest>,
  known: GroupKnown,
): Promise<ReplayStarted> {
  const { history, generation, ratePerSecond, ramp, stopAtShare } = deed.request
  await refuseUnfit(tx, { history, generation }, known)
  const through = await postgresPages.end(tx)
  const values = [
    deed.key,
    generation,
    JSON.stringify(filterToKeep(history)),
    ratePerSecond,
    ramp,
    stopAtShare,
    through,
    history.after ?? '',
  ]
  const { rows } = await tx.query<ReplayStarted>(startSql, values).catch((error: unknown) => {
    throw cursorAheadIn(error)
  })
  return rows[0] as ReplayStarted
}

// Only what is on record as stopped; where it was, it goes on.
const resumeSql = `
update tidegate.replays set state = 'running', reason = null, ended_at = null, claim = null, claimed_until = null,
  moved_at = clock_timestamp()
where replay = $1 and source = 'history' and state = 'stopped' returning replay`

const standingSql = `select source, state from tidegate.replays where replay = $1 for update`

/** @throws TidegateError `REPLAY_NOT_RESUMABLE` */
export async function resumeHistoryReplay(tx: Transaction, replay: number): Promise<void> {
  const { rows } = await tx.query<{ source: string; state: string }>(standingSql, [replay])
  const [standing] = rows
  if (standing === undefined || (standing.source === 'history' && standing.state === 'running')) return
  const { rowCount } = await tx.query(resumeSql, [replay])
  if (rowCount === 0) throw notResumable(replay, standing)
}

/** Looked at for a preview. */
const chunk = 10_000
const chunksMax = 10

const countSql = `
with scan as materialized (select row_number() over () as n, e.* from tidegate.read_events($1, $2::text[], ${chunk}) as e)
select (select count(*)::int from scan) as scanned, (select cursor from scan order by n desc limit 1) as last,
  (select coalesce(json_object_agg(type, events), '{}') from (
     select type, count(*)::int as events from scan
     where disposition = 'accepted' and ($3::text is null or source = $3) and ($4::float8 is null or time >= to_timestamp($4::float8 / 1000))
       and ($5::float8 is null or time < to_timestamp($5::float8 / 1000))
     group by type) as counted) as "byType"`

/** See `Deeds.previewHistory`. */
export async function previewHistory(
  tx: Transaction,
  history: HistorySelection,
  generation: string | undefined,
  known: GroupKnown,
): Promise<HistoryPreview> {
  await refuseUnfit(tx, { history, generation }, known)
  const { group, types, device, fromMs, untilMs } = history
  const source = device === undefined ? null : deviceSource(device)
  const byType = new Map<string, number>()
  let after = history.after ?? ''
  let isWhole = false
  for (let chunks = 0; chunks < chunksMax && !isWhole; chunks++) {
    const { rows } = await tx
      .query<CountRow>(countSql, [after, types ?? null, source, fromMs ?? null, untilMs ?? null])
      .catch((error: unknown) => {
        throw cursorAheadIn(error)
      })
    const { scanned, last, byType: counted } = rows[0] as CountRow
    for (const [type, events] of Object.entries(counted)) byType.set(type, (byType.get(type) ?? 0) + events)
    isWhole = scanned < chunk
    if (last !== null && compareCursors(last, after) > 0) after = last
  }
  const listed = [...byType].map(([type, events]) => ({ type, events }))
  return {
    group,
    events: listed.reduce((sum, { events }) => sum + events, 0),
    isWhole,
    byType: listed.toSorted((one, other) => other.events - one.events).slice(0, 50),
    keepsInbox: known(group) === undefined ? null : known(group) === 'inbox',
  }
}

interface CountRow {
  scanned: number
  last: string | null
  byType: Record<string, number>
}

function groupUnknown(group: string): TidegateError {
  return new TidegateError('GROUP_UNKNOWN', {
    message: `no instance runs a group ${group}`,
    retryable: false,
    hint: 'start its consumer first: what is sent waits in its queues; tidegate groups list shows which there are',
  })
}

function toHistory(): TidegateError {
  return new TidegateError('REPLAY_TO_HISTORY', {
    message: 'history is where the events come from, and has each of them once',
    retryable: false,
    hint: 'name the group that is to process them again',
  })
}

function inapplicable(group: string): TidegateError {
  return new TidegateError('GENERATION_INAPPLICABLE', {
    message: `${group} keeps no inbox (dedup: own), and a generation is part of the inbox key`,
    retryable: false,
    hint: 'leave the generation out: its handler gets what is replayed in any case, with context of the replay, and its own keys say what has an effect',
  })
}

function notResumable(replay: number, { source, state }: { source: string; state: string }): TidegateError {
  return new TidegateError('REPLAY_NOT_RESUMABLE', {
    message:
      source === 'letters'
        ? `replay ${replay} is one of dead letters`
        : source === 'start'
          ? `replay ${replay} is a new group on its way from the beginning of history`
          : `replay ${replay} is ${state}, and only one that has stopped goes on`,
    retryable: false,
    hint: 'of letters, those that are open are replayed by a new replay; a group that was stopped on its way has the rest by tidegate replay --to GROUP --after CURSOR; of history, tidegate replay show says where it is',
  })
}
