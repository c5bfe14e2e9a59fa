import { randomUUID } from 'node:crypto'
import type { Storage, Transaction } from '../database/storage.ts'
import { conditionsOf } from './filter.ts'
import type {
  ClaimedReplay,
  LetterEdit,
  ReplayedLetter,
  ReplayProgress,
  ReplayRequest,
  Replays,
} from './replays.ts'

export interface ReplaysOptions {
  storage: Storage
  /** Without a sign of life for so long whoever has a replay is gone, ms. */
  leaseMs: number
  signal: AbortSignal
}

const claimSql = `
update tidegate.replays set claim = $1, claimed_until = clock_timestamp() + $2 * interval '1 ms'
where replay = (select replay from tidegate.replays
                where ended_at is null and (claimed_until is null or claimed_until < clock_timestamp())
                order by replay limit 1 for update skip locked)
returning replay::float8 as replay, filter, rate, ramp, stop_at_share as "stopAtShare"`

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
select through::text, cursor, page, state from tidegate.replays where replay = $1 and claim = $2 and ended_at is null for update`

const lettersSql = `
select letter::float8 as letter, consumer_group as "group", device, body, properties, headers, routing_key as "routingKey", publisher,
       edit
from tidegate.dead_letters where letter = any($1::bigint[]) and replay = $2 and state = 'replaying'
order by coalesce(device, ''), coalesce(epoch, ''), coalesce(sequence, 0), letter`

const markSql = `
update tidegate.dead_letters set state = 'replaying', replay = $2 where letter = any($1::bigint[]) and state = 'open'`

const pageSql = `
update tidegate.replays set page = $2, cursor = $3, exhausted = $4, moved_at = clock_timestamp() where replay = $1`

const sentSql = `
update tidegate.replays set sent = sent + cardinality(page), step_sent = step_sent + cardinality(page), page = null,
  moved_at = clock_timestamp()
where replay = $1 and claim = $2 and page is not null`

// The letters of a page that is still open were not counted as sent.
const giveBackSql = `
with back as (
  update tidegate.dead_letters set state = 'open' where replay = $1 and state = 'replaying' returning letter
)
update tidegate.replays set returned = returned + (select count(*) from back), moved_at = clock_timestamp()
where replay = $1 and claim = $2 returning returned::float8 as returned`

/** Where a replay is in its letters: in the order of device (those of none first), epoch, sequence, letter. */
interface Cursor {
  device: string
  epoch: string
  sequence: string
  letter: string
}

/** As the index dead_letters_order has it: a page costs what is in it, however many letters there are. */
const order = `coalesce(d.device, ''), coalesce(d.epoch, ''), coalesce(d.sequence, 0), d.letter`

export function postgresReplays({ storage, leaseMs, signal }: ReplaysOptions): Replays {
  const run = <T>(work: (tx: Transaction) => Promise<T>): Promise<T> => storage.transaction(work, signal)
  const update = async (sql: string, values: unknown[]): Promise<void> =>
    run(async (tx) => void (await tx.query(sql, values)))
  return {
    async claim() {
      const claim = randomUUID()
      const { rows } = await run((tx) => tx.query<ClaimRow>(claimSql, [claim, leaseMs]))
      const [row] = rows
      return row && { replay: row.replay, claim, request: requestOf(row) }
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
    end: ({ replay, claim }, state) =>
      update(
        `update tidegate.replays set state = $3, ended_at = clock_timestamp(), claim = null, claimed_until = null where replay = $1 and claim = $2`,
        [replay, claim, state],
      ),
    release: ({ replay, claim }) =>
      update(
        'update tidegate.replays set claim = null, claimed_until = null where replay = $1 and claim = $2',
        [replay, claim],
      ),
  }
}

interface ClaimRow {
  replay: number
  filter: ReplayRequest['filter']
  rate: number | null
  ramp: number[] | null
  stopAtShare: number | null
}

type ProgressRow = Omit<ReplayProgress, 'reason'> & { reason: string | null }

function requestOf({ filter, rate, ramp, stopAtShare }: ClaimRow): ReplayRequest {
  return {
    filter,
    ...(rate !== null && { ratePerSecond: rate }),
    ...(ramp !== null && { ramp }),
    ...(stopAtShare !== null && { stopAtShare }),
  }
}

async function take(
  tx: Transaction,
  { replay, claim, request }: ClaimedReplay,
  lettersMax: number,
): Promise<ReplayedLetter[]> {
  const { rows } = await tx.query<{
    through: string
    cursor: Cursor | null
    page: string[] | null
    state: string
  }>(ownSql, [replay, claim])
  const [own] = rows
  if (!own) return []
  if (own.page) return readLetters(tx, own.page, replay)
  if (own.state !== 'running') return []
  const found = await nextLetters(tx, { replay, request, through: own.through }, own.cursor, lettersMax)
  const page = found.map(({ letter }) => letter)
  const last = found.at(-1)
  await tx.query(markSql, [page, replay])
  await tx.query(pageSql, [
    replay,
    page.length === 0 ? null : page,
    last === undefined ? own.cursor && JSON.stringify(own.cursor) : JSON.stringify(last),
    page.length < lettersMax,
  ])
  return readLetters(tx, page, replay)
}

interface Selection {
  replay: number
  request: ReplayRequest
  through: string
}

/** At most so many. Fewer: there are no more. Whoever else has one of them in his hands takes it; it is not waited for. */
async function nextLetters(
  tx: Transaction,
  { replay, request, through }: Selection,
  cursor: Cursor | null,
  lettersMax: number,
): Promise<Cursor[]> {
  const { sql, values } = conditionsOf(request.filter, [through, replay, lettersMax])
  const parameter = (value: unknown): string => `$${values.push(value)}`
  const behind =
    cursor &&
    `and (${order}) > (${parameter(cursor.device)}, ${parameter(cursor.epoch)}, ${parameter(cursor.sequence)}::bigint,
      ${parameter(cursor.letter)}::bigint)`
  // A table whose statistics are old must not be sorted for each page.
  await tx.query('set local enable_sort = off')
  const { rows } = await tx.query<Cursor>(
    `select coalesce(d.device, '') as device, coalesce(d.epoch, '') as epoch, coalesce(d.sequence, 0)::text as sequence,
       d.letter::text as letter
     from tidegate.dead_letters as d
     where d.state = 'open' and d.letter <= $1 and d.replay is distinct from $2 and ${sql} ${behind ?? ''}
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
): Promise<ReplayedLetter[]> {
  const { rows } = await tx.query<LetterRow>(lettersSql, [page, replay])
  return rows.map(({ device, publisher, edit, ...row }) => ({
    ...row,
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
