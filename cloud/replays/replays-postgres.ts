import { randomUUID } from 'node:crypto'
import type { Storage, Transaction } from '../database/storage.ts'
import { conditionsOf } from './filter.ts'
import type { HistoryPages } from './history-pages.ts'
import {
  historyGiveBackSql,
  historyIn,
  historySentSql,
  historySource,
  type Taken,
} from './history-source-postgres.ts'
import { isOfLetters, lettersGiveBackSql, lettersSentSql, takeLetters } from './letters-source-postgres.ts'
import {
  type ClaimedReplay,
  type Replayable,
  type ReplayProgress,
  type ReplayRequest,
  type Replays,
} from './replays.ts'

export interface ReplaysOptions {
  storage: Storage
  /** Without a sign of life for so long whoever has a replay is gone, ms. */
  leaseMs: number
  /** Those that run here. */
  groups: readonly string[]
  /** Of those that run here; by default all is taken. */
  taken?: Taken
  pages: HistoryPages
  signal: AbortSignal
}

// Whoever was released first is next, so that one that only waits holds up none. The ladder of a group that does not run here is not known here,
// nor what it takes of history; and a group that begins at the beginning of history does that itself.
// A start whose consumer is gone is ended here: nobody else would.
const claimSql = `
with gone as (
  update tidegate.replays set state = 'stopped', reason = coalesce(reason, 'stopped by hand'), ended_at = clock_timestamp(), claim = null
  where source = 'start' and state = 'stopping' and ended_at is null and (kept_until is null or kept_until < clock_timestamp()))
update tidegate.replays set claim = $1, claimed_until = clock_timestamp() + $2 * interval '1 ms'
where replay = (select replay from tidegate.replays
                where ended_at is null and (claimed_until is null or claimed_until < clock_timestamp()) and source <> 'start'
                  and (state = 'stopping' or coalesce(filter ->> 'group' = any($3::text[]), true)
                       or (source = 'letters' and coalesce(claimed_until, started_at) < clock_timestamp() - $2 * interval '1 ms'))
                order by coalesce(claimed_until, started_at), replay limit 1 for update skip locked)
returning replay::float8 as replay, source, generation, filter, rate, ramp, stop_at_share as "stopAtShare",
  coalesce((select d.request ->> 'believe' = 'true' from tidegate.deeds as d where d.deed = replays.deed), false) as believe`

// One statement: what it takes away of the counts is what it adds.
const foldSql = `
with folded as (
  delete from tidegate.replay_counts where replay = $1 returning resolved, failed, repeats
), sums as (
  select coalesce(sum(resolved), 0) as resolved, coalesce(sum(failed), 0) as failed, coalesce(sum(repeats), 0) as repeats from folded)
update tidegate.replays as r set
  resolved = r.resolved + sums.resolved, failed = r.failed + sums.failed, repeats = r.repeats + sums.repeats,
  moved_at = case when sums.resolved + sums.failed + sums.repeats > 0 then clock_timestamp() else moved_at end,
  claimed_until = clock_timestamp() + $3 * interval '1 ms'
from sums where r.replay = $1 and r.claim = $2 and r.ended_at is null
returning state, reason, total::float8, sent::float8, r.resolved::float8, r.failed::float8, r.repeats::float8, returned::float8, step,
  step_sent::float8 as "stepSent", exhausted, coalesce(page is not null or page_next is not null, false) as "pageOpen",
  (extract(epoch from clock_timestamp() - moved_at) * 1000)::float8 as "stillMs"`

const releaseSql = `
update tidegate.replays set claim = null, claimed_until = clock_timestamp() + $3 * interval '1 ms' where replay = $1 and claim = $2`

const takesAll: Taken = { wants: () => true, patterns: () => undefined }

export function postgresReplays(options: ReplaysOptions): Replays {
  const { storage, leaseMs, groups, pages, taken = takesAll, signal } = options
  const fromHistory = historySource(pages, taken)
  const run = <T>(work: (tx: Transaction) => Promise<T>): Promise<T> => storage.transaction(work, signal)
  const update = async (sql: string, values: unknown[]): Promise<void> =>
    run(async (tx) => void (await tx.query(sql, values)))
  return {
    async claim() {
      const claim = randomUUID()
      const { rows } = await run((tx) => tx.query<ClaimRow>(claimSql, [claim, leaseMs, groups]))
      const [row] = rows
      if (!row) return undefined
      const request = requestOf(row)
      const { group } = request.history ?? request.filter
      return { replay: row.replay, claim, request, isOurs: group === undefined || groups.includes(group) }
    },
    async look({ replay, claim }) {
      const { rows } = await run((tx) => tx.query<ProgressRow>(foldSql, [replay, claim, leaseMs]))
      const [row] = rows
      if (!row) return undefined
      const { reason, ...progress } = row
      return { ...progress, ...(reason !== null && { reason }) }
    },
    take: (claimed, max) =>
      run<readonly Replayable[]>((tx) =>
        isOfLetters(claimed) ? takeLetters(tx, claimed, max) : fromHistory.take(tx, claimed, max),
      ),
    sent: ({ replay, claim, request }) =>
      update(request.history ? historySentSql : lettersSentSql, [replay, claim]),
    step: ({ replay, claim }) =>
      update(
        'update tidegate.replays set step = step + 1, step_sent = 0, moved_at = clock_timestamp() where replay = $1 and claim = $2',
        [replay, claim],
      ),
    stop: ({ replay, claim }, reason) =>
      update(
        `update tidegate.replays set state = 'stopping', reason = $3 where replay = $1 and claim = $2 and state = 'running'`,
        [replay, claim, reason],
      ),
    async giveBack({ replay, claim, request }) {
      const sql = request.history ? historyGiveBackSql : lettersGiveBackSql
      const { rows } = await run((tx) => tx.query<{ returned: number }>(sql, [replay, claim]))
      return rows[0]?.returned ?? 0
    },
    end: (claimed, state) => run((tx) => end(tx, claimed, state)),
    release: ({ replay, claim }, afterMs) => update(releaseSql, [replay, claim, afterMs]),
  }
}

const endSql = `
update tidegate.replays set state = $3, reason = coalesce(reason, $4), looked = case when $3 = 'done' and source = 'history' then total else looked end,
  ended_at = clock_timestamp(), claim = null, claimed_until = null
where replay = $1 and claim = $2`

/** What somebody else had in hand when it came by was left to him; it is said how many of those are open. */
async function end(
  tx: Transaction,
  { replay, claim, request }: ClaimedReplay,
  state: 'done' | 'stopped',
): Promise<void> {
  if (request.history) return void (await tx.query(endSql, [replay, claim, state, null]))
  const { sql, values } = conditionsOf(request.filter, [replay])
  const { rows } = await tx.query<{ left: number }>(
    `select count(*)::float8 as left from tidegate.dead_letters as d
     where d.state = 'open' and d.replay is distinct from $1 and ${sql}
       and d.letter <= (select through from tidegate.replays where replay = $1)`,
    values,
  )
  const left = rows[0]?.left ?? 0
  const reason =
    state === 'done' && left > 0
      ? `${left} letters were in other hands when it came by, and are open: replay them as well`
      : null
  await tx.query(endSql, [replay, claim, state, reason])
}

interface ClaimRow {
  replay: number
  source: 'letters' | 'history'
  generation: string | null
  filter: object
  rate: number | null
  ramp: number[] | null
  stopAtShare: number | null
  believe: boolean
}

type ProgressRow = Omit<ReplayProgress, 'reason'> & { reason: string | null }

function requestOf({
  source,
  filter,
  generation,
  rate,
  ramp,
  stopAtShare,
  believe,
}: ClaimRow): ReplayRequest {
  return {
    ...(source === 'letters' ? { filter } : historyIn(filter, generation)),
    ...(rate !== null && { ratePerSecond: rate }),
    ...(ramp !== null && { ramp }),
    ...(stopAtShare !== null && { stopAtShare }),
    believe,
  }
}
