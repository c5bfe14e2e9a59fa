import { randomUUID } from 'node:crypto'
import type { Storage, Transaction } from '../database/storage.ts'
import { conditionsOf, isOfItsEvent } from './filter.ts'
import {
  believesAll,
  type ClaimedReplay,
  type LetterEdit,
  type ReplayedLetter,
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
  signal: AbortSignal
}

// Whoever was released first is next, so that one that only waits holds up none. The ladder of a group that does not run here is not known here.
const claimSql = `
update tidegate.replays set claim = $1, claimed_until = clock_timestamp() + $2 * interval '1 ms'
where replay = (select replay from tidegate.replays
                where ended_at is null and (claimed_until is null or claimed_until < clock_timestamp())
                  and (state = 'stopping' or coalesce(filter ->> 'group' = any($3::text[]), true)
                       or coalesce(claimed_until, started_at) < clock_timestamp() - $2 * interval '1 ms')
                order by coalesce(claimed_until, started_at), replay limit 1 for update skip locked)
returning replay::float8 as replay, filter, rate, ramp, stop_at_share as "stopAtShare",
  coalesce((select d.request ->> 'believe' = 'true' from tidegate.deeds as d where d.deed = replays.deed), false) as believe`

// One statement: what it takes away of the counts is what it adds.
const foldSql = `
with folded as (
  delete from tidegate.replay_counts where replay = $1 returning resolved, failed
), sums as (select coalesce(sum(resolved), 0) as resolved, coalesce(sum(failed), 0) as failed from folded)
update tidegate.replays as r set
  resolved = r.resolved + sums.resolved, failed = r.failed + sums.failed,
  moved_at = case when sums.resolved + sums.failed > 0 then clock_timestamp() else moved_at end,
  claimed_until = clock_timestamp() + $3 * interval '1 ms'
from sums where r.replay = $1 and r.claim = $2 and r.ended_at is null
returning state, reason, total::float8, sent::float8, r.resolved::float8, r.failed::float8, returned::float8, step,
  step_sent::float8 as "stepSent", exhausted, page is not null as "pageOpen",
  (extract(epoch from clock_timestamp() - moved_at) * 1000)::float8 as "stillMs"`

const ownSql = `
select through::text, total::float8, cursor, page, state from tidegate.replays where replay = $1 and claim = $2 and ended_at is null for update`

const lettersSql = `
select letter::float8 as letter, consumer_group as "group", device, body, properties, headers, routing_key as "routingKey", publisher,
       edit, not (${isOfItsEvent}) as unvetted
from tidegate.dead_letters as d where letter = any($1::bigint[]) and replay = $2 and state = 'replaying'
order by coalesce(device, ''), coalesce(epoch, ''), coalesce(sequence, 0), letter`

// Of those that are locked already.
const markSql = `
update tidegate.dead_letters set state = 'replaying', replay = $2 where letter = any($1::bigint[]) and state = 'open'`

const pageSql = `
update tidegate.replays set page = $2, cursor = $3, exhausted = $4, moved_at = clock_timestamp() where replay = $1`

const sentSql = `
update tidegate.replays set sent = sent + cardinality(page), step_sent = step_sent + cardinality(page), page = null,
  moved_at = clock_timestamp()
where replay = $1 and claim = $2 and page is not null`

// Those of a page that is still open count as sent, and as returned.
const giveBackSql = `
with own as (select replay from tidegate.replays where replay = $1 and claim = $2 for update),
held as materialized (
  select letter from tidegate.dead_letters where replay = (select replay from own) and state = 'replaying' order by letter for update
), back as (
  update tidegate.dead_letters set state = 'open' where letter in (select letter from held) and state = 'replaying' returning letter
)
update tidegate.replays set returned = returned + (select count(*) from back), sent = sent + coalesce(cardinality(page), 0),
  step_sent = step_sent + coalesce(cardinality(page), 0), page = null, moved_at = clock_timestamp()
where replay = (select replay from own) returning (select count(*) from back)::float8 as returned`

const releaseSql = `
update tidegate.replays set claim = null, claimed_until = clock_timestamp() + $3 * interval '1 ms' where replay = $1 and claim = $2`

/** Where a replay is in its letters: in the order of device (those of none first), epoch, sequence, letter. */
interface Cursor {
  device: string
  epoch: string
  sequence: string
  letter: string
}

/** Sorted for each page. */
const fewMax = 5_000

/** As the index dead_letters_order has it: a page costs what is in it, however many letters there are. */
const order = `coalesce(d.device, ''), coalesce(d.epoch, ''), coalesce(d.sequence, 0), d.letter`

export function postgresReplays({ storage, leaseMs, groups, signal }: ReplaysOptions): Replays {
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
      const { group } = request.filter
      return { replay: row.replay, claim, request, isOurs: group === undefined || groups.includes(group) }
    },
    async look({ replay, claim }) {
      const { rows } = await run((tx) => tx.query<ProgressRow>(foldSql, [replay, claim, leaseMs]))
      const [row] = rows
      if (!row) return undefined
      const { reason, ...progress } = row
      return { ...progress, ...(reason !== null && { reason }) }
    },
    take: (claimed, lettersMax) => run((tx) => take(tx, claimed, lettersMax)),
    sent: ({ replay, claim }) => update(sentSql, [replay, claim]),
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
    async giveBack({ replay, claim }) {
      const { rows } = await run((tx) => tx.query<{ returned: number }>(giveBackSql, [replay, claim]))
      return rows[0]?.returned ?? 0
    },
    end: (claimed, state) => run((tx) => end(tx, claimed, state)),
    release: ({ replay, claim }, afterMs) => update(releaseSql, [replay, claim, afterMs]),
  }
}

const endSql = `
update tidegate.replays set state = $3, reason = coalesce(reason, $4), ended_at = clock_timestamp(), claim = null, claimed_until = null
where replay = $1 and claim = $2`

/** What somebody else had in hand when it came by was left to him; it is said how many of those are open. */
async function end(
  tx: Transaction,
  { replay, claim, request }: ClaimedReplay,
  state: 'done' | 'stopped',
): Promise<void> {
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
  filter: ReplayRequest['filter']
  rate: number | null
  ramp: number[] | null
  stopAtShare: number | null
  believe: boolean
}

type ProgressRow = Omit<ReplayProgress, 'reason'> & { reason: string | null }

function requestOf({ filter, rate, ramp, stopAtShare, believe }: ClaimRow): ReplayRequest {
  return {
    filter,
    ...(rate !== null && { ratePerSecond: rate }),
    ...(ramp !== null && { ramp }),
    ...(stopAtShare !== null && { stopAtShare }),
    believe,
  }
}

async function take(
  tx: Transaction,
  { replay, claim, request }: ClaimedReplay,
  lettersMax: number,
): Promise<ReplayedLetter[]> {
  const { rows } = await tx.query<{
    through: string
    total: number
    cursor: Cursor | null
    page: string[] | null
    state: string
  }>(ownSql, [replay, claim])
  const [own] = rows
  if (!own) return []
  if (own.page) return readLetters(tx, own.page, replay, request)
  if (own.state !== 'running') return []
  const found = await nextLetters(
    tx,
    { replay, request, through: own.through, isFew: own.total <= fewMax },
    own.cursor,
    lettersMax,
  )
  const page = found.map(({ letter }) => letter)
  const last = found.at(-1)
  await tx.query(markSql, [page, replay])
  await tx.query(pageSql, [
    replay,
    page.length === 0 ? null : page,
    last === undefined ? own.cursor && JSON.stringify(own.cursor) : JSON.stringify(last),
    page.length < lettersMax,
  ])
  return readLetters(tx, page, replay, request)
}

interface Selection {
  replay: number
  request: ReplayRequest
  through: string
  /** Of so few that they can be sorted for each page. */
  isFew: boolean
}

/** At most so many. Fewer: there are no more. Whoever else has one of them in his hands takes it; it is not waited for. */
async function nextLetters(
  tx: Transaction,
  { replay, request, through, isFew }: Selection,
  cursor: Cursor | null,
  lettersMax: number,
): Promise<Cursor[]> {
  const { sql, values } = conditionsOf(request.filter, [through, replay, lettersMax])
  const parameter = (value: unknown): string => `$${values.push(value)}`
  const behind =
    cursor &&
    `and (${order}) > (${parameter(cursor.device)}, ${parameter(cursor.epoch)}, ${parameter(cursor.sequence)}::bigint,
      ${parameter(cursor.letter)}::bigint)`
  const open = `d.state = 'open' and d.letter <= $1 and d.replay is distinct from $2 and ${sql} ${behind ?? ''}`
  // Few letters are found by an index of what they are asked by, and sorted; many in their order, whatever the statistics say of them.
  const few = `${open} and d.letter = any (array(
    select letter from (select d.letter, row(${order}) as place from tidegate.dead_letters as d where ${open} offset 0) as found
    order by place limit $3))`
  await tx.query(`set local enable_sort = ${isFew ? 'on' : 'off'}`)
  const { rows } = await tx.query<Cursor>(
    `select coalesce(d.device, '') as device, coalesce(d.epoch, '') as epoch, coalesce(d.sequence, 0)::text as sequence,
       d.letter::text as letter
     from tidegate.dead_letters as d
     where ${isFew ? few : open}
     order by ${order} limit $3 for update skip locked`,
    values,
  )
  // What must be sorted would be taken for a statement so dear that PostgreSQL compiles it first, for 100 ms.
  await tx.query('set local enable_sort = on')
  return rows
}

async function readLetters(
  tx: Transaction,
  page: readonly string[],
  replay: number,
  request: ReplayRequest,
): Promise<ReplayedLetter[]> {
  const { rows } = await tx.query<LetterRow>(lettersSql, [page, replay])
  return rows.map(({ device, publisher, edit, unvetted, ...row }) => ({
    ...row,
    unvetted: unvetted && !believesAll(request),
    device: device ?? undefined,
    publisher: publisher ?? undefined,
    edit: edit ?? undefined,
  }))
}

type LetterRow = Omit<ReplayedLetter, 'device' | 'publisher' | 'edit'> & {
  device: string | null
  publisher: string | null
  edit: LetterEdit | null
}
