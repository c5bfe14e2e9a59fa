import type { Transaction } from '../database/storage.ts'
import { conditionsOf, isOfItsEvent, type LetterFilter } from './filter.ts'
import {
  believesAll,
  type ClaimedReplay,
  type LetterEdit,
  type ReplayedLetter,
  type ReplayRequest,
} from './replays.ts'

const ownSql = `
select through::text, total::float8, cursor, page, state from tidegate.replays where replay = $1 and claim = $2 and ended_at is null for update`

const lettersSql = `
select letter::float8 as letter, consumer_group as "group", device, body, properties, headers, routing_key as "routingKey", publisher,
       edit, generation, not (${isOfItsEvent}) as unvetted
from tidegate.dead_letters as d where letter = any($1::bigint[]) and replay = $2 and state = 'replaying'
order by coalesce(device, ''), coalesce(epoch, ''), coalesce(sequence, 0), letter`

// Of those that are locked already.
const markSql = `
update tidegate.dead_letters set state = 'replaying', replay = $2 where letter = any($1::bigint[]) and state = 'open'`

const pageSql = `
update tidegate.replays set page = $2, cursor = $3, exhausted = $4, moved_at = clock_timestamp() where replay = $1`

export const lettersSentSql = `
update tidegate.replays set sent = sent + cardinality(page), step_sent = step_sent + cardinality(page), page = null,
  moved_at = clock_timestamp()
where replay = $1 and claim = $2 and page is not null`

// Those of a page that is still open count as sent, and as returned.
export const lettersGiveBackSql = `
with own as (select replay from tidegate.replays where replay = $1 and claim = $2 for update),
held as materialized (
  select letter from tidegate.dead_letters where replay = (select replay from own) and state = 'replaying' order by letter for update
), back as (
  update tidegate.dead_letters set state = 'open' where letter in (select letter from held) and state = 'replaying' returning letter
)
update tidegate.replays set returned = returned + (select count(*) from back), sent = sent + coalesce(cardinality(page), 0),
  step_sent = step_sent + coalesce(cardinality(page), 0), page = null, moved_at = clock_timestamp()
where replay = (select replay from own) returning (select count(*) from back)::float8 as returned`

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

export type LettersRequest = ReplayRequest & { filter: LetterFilter }
export type ClaimedLetters = ClaimedReplay & { request: LettersRequest }

export function isOfLetters(claimed: ClaimedReplay): claimed is ClaimedLetters {
  return claimed.request.filter !== undefined
}

/** The next letters, which are replaying from now on; first those of a page that is open. */
export async function takeLetters(
  tx: Transaction,
  { replay, claim, request }: ClaimedLetters,
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
  request: LettersRequest
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
  return rows.map(({ device, publisher, edit, unvetted, generation, ...row }) => ({
    ...row,
    unvetted: unvetted && !believesAll(request),
    device: device ?? undefined,
    publisher: publisher ?? undefined,
    generation: generation ?? undefined,
    edit: edit ?? undefined,
  }))
}

type LetterRow = Omit<ReplayedLetter, 'device' | 'publisher' | 'edit' | 'generation'> & {
  device: string | null
  generation: string | null
  publisher: string | null
  edit: LetterEdit | null
}
