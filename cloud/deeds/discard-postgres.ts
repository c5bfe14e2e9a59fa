import { isDeadlock } from '../database/faults-postgres.ts'
import type { Claim, Transaction } from '../database/storage.ts'
import { conditionsOf, isOfItsEvent } from '../replays/filter.ts'
import { appendDeed, type DeedParts, doOnce } from './deed-record.ts'
import type { Deed, Discarded, LetterFilter } from './deeds.ts'

/** Of one transaction, which holds them until its end (G7). */
const pieceLetters = 500
/** One asking takes no longer than about that, ms; the next one under the same key goes on. */
const askingMsMax = 10_000

const verb = 'discard'

/** What is counted beforehand: a discard of millions begins as soon as one of a few. */
const countedMax = 100_000
/** A deadlock harms nobody but the transaction that is given up for it. */
const deadlocksMax = 5

/** The outcome of the deed as it is on record: how far it is. */
interface Progress extends Discarded {
  /** The newest letter there was when it was asked for: what fails later is not of this discard. */
  through: string
  /** The last one that was looked at. */
  after: string
}

/** Of a cloud that did all of it in one transaction nothing is on record but how many it were. */
type OnRecord = Progress | Pick<Progress, 'discarded'>

type Discard = Deed<{ filter: LetterFilter }>

/**
 * See `Deeds.discard`. The deed, with the first piece of it, is one transaction; each further piece is one of its own, with how far it is:
 * on record, and as an event of the cloud's ledger (G8). A crash between two of them leaves a deed that is not done, and whoever asks for
 * it again under its key goes on. What fails behind a piece of this asking is answered with what was done, and thrown by the next asking
 * that gets no further.
 */
export async function discard(deed: Discard, parts: DeedParts): Promise<Discarded> {
  const sinceMs = parts.clock.monotonicMs()
  let isMoved = false
  let progress = await doAgain<OnRecord>(() =>
    doOnce(verb, deed, parts, (tx) => {
      isMoved = true
      return begin(tx, deed.request.filter)
    }),
  )
  while (isUnderWay(progress) && parts.clock.monotonicMs() - sinceMs < askingMsMax) {
    try {
      progress = await doAgain(() => goOn(deed, parts))
      isMoved = true
    } catch (error) {
      if (!isMoved) throw error
      break
    }
  }
  return answer(progress)
}

/** What it would discard. On a storage on which nothing stays. */
export async function tryDiscard(deed: Discard, parts: DeedParts): Promise<Discarded> {
  const { total } = await doOnce(verb, deed, parts, (tx) => begin(tx, deed.request.filter))
  return { discarded: total ?? countedMax, ...(total !== undefined && { total }), done: true }
}

function isUnderWay(progress: OnRecord): progress is Progress {
  return 'done' in progress && !progress.done
}

function answer(progress: OnRecord): Discarded {
  const { discarded } = progress
  const total = 'done' in progress ? progress.total : undefined
  return { discarded, ...(total !== undefined && { total }), done: !isUnderWay(progress) }
}

async function doAgain<T>(transaction: () => Promise<T>): Promise<T> {
  for (let deadlocks = 1; ; deadlocks++) {
    try {
      return await transaction()
    } catch (error) {
      if (!isDeadlock(error) || deadlocks === deadlocksMax) throw error
    }
  }
}

async function begin(tx: Transaction, filter: LetterFilter): Promise<Progress> {
  const { sql, values } = conditionsOf(filter, [countedMax])
  const { rows } = await tx.query<{ counted: number; through: string }>(
    `select (select count(*) from (select from tidegate.dead_letters as d where d.state = 'open' and ${sql} limit $1::integer + 1) as found)::float8
       as counted, coalesce((select max(letter) from tidegate.dead_letters), 0)::text as through`,
    values,
  )
  const { counted, through } = rows[0] ?? { counted: 0, through: '0' }
  const total = counted <= countedMax ? { total: counted } : {}
  return discardPiece(tx, filter, { discarded: 0, ...total, done: false, through, after: '0' })
}

// Whoever else asks for it under the same key waits here, and goes on behind this piece.
const progressSql = `select outcome::text as outcome from tidegate.deeds where deed = $1 for update`

function goOn(deed: Discard, parts: DeedParts): Promise<Progress> {
  return parts.storage.transaction(async (tx) => {
    const { rows } = await tx.query<{ outcome: string }>(progressSql, [deed.key])
    const before = JSON.parse((rows[0] as { outcome: string }).outcome) as Progress
    if (before.done) return before
    const progress = await discardPiece(tx, deed.request.filter, before)
    const outcome = JSON.stringify(progress)
    await tx.query('update tidegate.deeds set outcome = $2 where deed = $1', [deed.key, outcome])
    const id = `${deed.key}-${progress.done ? 'done' : progress.after}`
    await appendDeed(tx, parts, verb, deed, progress, id)
    return progress
  }, parts.signal)
}

const discardedSql = `
with done as (
  update tidegate.dead_letters as d set state = 'discarded', closed_at = clock_timestamp()
  where letter = any($1::bigint[]) and state = 'open'
  returning letter, consumer_group, source, id, generation, ${isOfItsEvent} as of_event
), noted as (
  insert into tidegate.resolutions (letter, consumer_group, source, id, outcome, edited)
  select letter, consumer_group, source, id, 'discarded', false from done where of_event
)
select letter::float8 as letter, consumer_group as "group", source, id, generation, of_event as "ofEvent" from done order by consumer_group, letter`

interface DiscardedRow {
  letter: number
  group: string
  source: string | null
  id: string | null
  generation: string | null
  ofEvent: boolean
}

/**
 * A later copy of the event meets the claim of the inbox, as if it had been processed; of a letter that only says that it is that event's,
 * nothing is claimed (G4, G9).
 */
async function discardPiece(tx: Transaction, filter: LetterFilter, progress: Progress): Promise<Progress> {
  const { sql, values } = conditionsOf(filter, [progress.after, progress.through, pieceLetters])
  const { rows: page } = await tx.query<{ letter: string }>(
    `select d.letter::text as letter from tidegate.dead_letters as d
     where d.letter > $1::bigint and d.letter <= $2::bigint and d.state = 'open' and ${sql}
     order by d.letter limit $3 for update`,
    values,
  )
  const { rows } = await tx.query<DiscardedRow>(discardedSql, [page.map(({ letter }) => letter)])
  for (const [group, identities] of byGroup(rows)) await tx.inbox.claim(group, identities)
  return {
    ...progress,
    discarded: progress.discarded + rows.length,
    done: page.length < pieceLetters,
    after: page.at(-1)?.letter ?? progress.after,
  }
}

function byGroup(rows: readonly DiscardedRow[]): Map<string, Claim[]> {
  const groups = new Map<string, Claim[]>()
  for (const { group, source, id, generation, ofEvent } of rows) {
    if (!ofEvent || source === null || id === null) continue
    groups.set(group, [...(groups.get(group) ?? []), { source, id, generation: generation ?? undefined }])
  }
  return groups
}
