import { decodeEvent } from '../../src/contract/codec.ts'
import { TidegateError } from '../../src/errors.ts'
import type { Transaction } from '../database/storage.ts'
import type { SchemaCheck } from '../reading/schema-check.ts'
import { deedInvalid } from './deed-record.ts'
import type { Deed, EditRequest, LetterState } from './deeds.ts'
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
