import { decodeEvent } from '../../src/contract/codec.ts'
import { TidegateError } from '../../src/errors.ts'
import type { Transaction } from '../database/storage.ts'
import type { SchemaCheck } from '../pipeline/schema-check.ts'
import { deedInvalid } from './deed-record.ts'
import type { Deed, EditRequest, LetterFilter, LetterState } from './deeds.ts'
import { conditionsOf, isOfItsEvent } from '../replays/filter.ts'
import { checkPatch } from '../replays/json-patch.ts'
import { editedEvent } from '../replays/letter-to-send.ts'
import type { LetterEdit } from '../replays/replays.ts'

interface LetterRow {
  letter: number
  group: string
  state: string
  replays: number
  body: Buffer
  edit: LetterEdit | null
}

const letterSql = `
select letter::float8 as letter, consumer_group as "group", state, replays, body, edit
from tidegate.dead_letters where letter = $1 for update`

/** What an ETag is to say of a letter. */
export function letterVersion({
  state,
  replays,
  edit,
}: Pick<LetterRow, 'state' | 'replays' | 'edit'>): string {
  return [state, replays, edit?.deed ?? 'as-it-came'].join('.')
}

/** See `Deeds.edit`. */
export async function editLetter(
  tx: Transaction,
  deed: Deed<EditRequest>,
  checkSchema: SchemaCheck,
  nowMs: number,
): Promise<LetterState> {
  const { letter, patch: given, ifMatch } = deed.request
  const patch = checkPatch(given)
  if (!Number.isSafeInteger(letter) || letter < 1) throw deedInvalid('a letter is a number from 1 on')
  const { rows } = await tx.query<LetterRow>(letterSql, [letter])
  const [row] = rows
  if (!row) throw letterUnknown(letter)
  if (ifMatch !== undefined && ifMatch !== letterVersion(row)) throw changed(row)
  if (row.state !== 'open') throw closed(row)
  // History is what was said; who corrects it says so in an event of its own.
  if (row.group === 'history') throw refused('history keeps what the device said')
  const edit: LetterEdit | null =
    patch.length === 0
      ? null
      : { by: deed.by.actor, at: new Date(nowMs).toISOString(), deed: deed.key, reason: deed.reason, patch }
  if (edit) {
    const fault = checkSchema(editedEvent(eventOf(row), edit))
    if (fault) throw fault
  }
  await tx.query('update tidegate.dead_letters set edit = $2 where letter = $1', [
    letter,
    edit && JSON.stringify(edit),
  ])
  return { letter, state: row.state, version: letterVersion({ ...row, edit }) }
}

function eventOf({ body }: LetterRow): ReturnType<typeof decodeEvent> {
  try {
    return decodeEvent(body.toString('utf8'))
  } catch {
    throw refused('what is in it is no event')
  }
}

const pageRows = 500
/** In one transaction, which holds them all until its end. */
const discardMax = 100_000

const discardedSql = `
with done as (
  update tidegate.dead_letters as d set state = 'discarded', closed_at = clock_timestamp()
  where letter = any($1::bigint[]) and state = 'open'
  returning letter, consumer_group, source, id, ${isOfItsEvent} as of_event
), noted as (
  insert into tidegate.resolutions (letter, consumer_group, source, id, outcome, edited)
  select letter, consumer_group, source, id, 'discarded', false from done where of_event
)
select letter::float8 as letter, consumer_group as "group", source, id, of_event as "ofEvent" from done order by consumer_group, letter`

interface DiscardedRow {
  letter: number
  group: string
  source: string | null
  id: string | null
  ofEvent: boolean
}

/**
 * See `Deeds.discard`. A later copy of the event meets the claim of the inbox, as if it had been processed; of a letter that only says
 * that it is that event's, nothing is claimed (G4, G9).
 */
export async function discardLetters(tx: Transaction, filter: LetterFilter): Promise<{ discarded: number }> {
  let discarded = 0
  for (let after = '0'; ;) {
    const { sql, values } = conditionsOf(filter, [after, pageRows])
    const { rows: page } = await tx.query<{ letter: string }>(
      `select d.letter::text as letter from tidegate.dead_letters as d
       where d.letter > $1::bigint and d.state = 'open' and ${sql} order by d.letter limit $2 for update`,
      values,
    )
    const last = page.at(-1)
    if (!last) return { discarded }
    after = last.letter
    const { rows } = await tx.query<DiscardedRow>(discardedSql, [page.map(({ letter }) => letter)])
    discarded += rows.length
    if (discarded > discardMax) throw tooLarge()
    for (const [group, identities] of byGroup(rows)) await tx.inbox.claim(group, identities)
  }
}

function byGroup(rows: readonly DiscardedRow[]): Map<string, { source: string; id: string }[]> {
  const groups = new Map<string, { source: string; id: string }[]>()
  for (const { group, source, id, ofEvent } of rows) {
    if (!ofEvent || source === null || id === null) continue
    groups.set(group, [...(groups.get(group) ?? []), { source, id }])
  }
  return groups
}

function letterUnknown(letter: number): TidegateError {
  return new TidegateError('LETTER_UNKNOWN', {
    message: `there is no dead letter ${letter}`,
    retryable: false,
    hint: 'tidegate dead list says which there are; closed ones are removed in time',
  })
}

function changed(row: LetterRow): TidegateError {
  return new TidegateError('LETTER_CHANGED', {
    message: `letter ${row.letter} has changed since you looked: it is ${letterVersion(row)} now`,
    retryable: false,
    hint: 'look at it again (tidegate dead show), and decide anew',
  })
}

function closed({ letter, state }: LetterRow): TidegateError {
  return new TidegateError('LETTER_CLOSED', {
    message: `letter ${letter} is ${state}: only an open one can be edited`,
    retryable: false,
    hint: 'one that is replaying is open again if it fails',
  })
}

function refused(message: string): TidegateError {
  return new TidegateError('EDIT_REFUSED', {
    message,
    retryable: false,
    hint: 'replay it as it is, or discard it',
  })
}

function tooLarge(): TidegateError {
  return new TidegateError('DEED_TOO_LARGE', {
    message: `more than ${discardMax} letters match: nothing was discarded`,
    retryable: false,
    hint: 'discard them in parts, by a narrower filter',
  })
}
