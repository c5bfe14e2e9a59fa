import { TidegateError } from '../../src/errors.ts'
import type { HistoryRecord, LedgerPlace } from './history.ts'

/**
 * A place in history, `era.tx.position`: the same text in SQL, the API, streams and projections. Whoever keeps one keeps it as it is. The
 * beginning is an empty text.
 */
export type Cursor = string

export interface StoredEvent
  extends LedgerPlace, Pick<HistoryRecord, 'source' | 'id' | 'type' | 'disposition'> {
  cursor: Cursor
  position: number
  /** ms since the Unix epoch. */
  storedMs: number
  /** The wire text, verbatim. */
  text: string
}

export interface Page {
  /** In order; none that comes later is ever before the last of them. */
  events: StoredEvent[]
  /**
   * Where to go on: at the last event that was looked at, of whatever type, and never before where it was asked from. Not behind it: the ID
   * of a transaction that stored nothing may be another's after a crash.
   */
  next: Cursor
  /** There may be more by now. */
  more: boolean
}

export interface ReadOptions {
  /** Of these types only; absent: all, also those of the gateways' own events. */
  types?: readonly string[] | undefined
  /** 1 to 10000. */
  max: number
  /** Text of the events: no more is added once there is so much. Absent: as much as there is. */
  bytesMax?: number
}

/**
 * History in an order in which nothing is skipped and nothing comes twice, however long a transaction that stores takes (G4). Port; the
 * adapter is reader-postgres.ts.
 */
export interface HistoryReader {
  /** @throws TidegateError `CURSOR_INVALID` when `after` is none, `CURSOR_AHEAD` when it is of a history that was put back */
  read(after: Cursor, options: ReadOptions): Promise<Page>
}

const form = /^\d{1,10}\.\d{1,19}\.\d{1,18}$/

/** The one after it is an era, too. */
const eraMax = 2 ** 31 - 2

export function isCursor(text: string): boolean {
  return text === '' || (form.test(text) && Number.parseInt(text, 10) <= eraMax)
}

/** Below, at, or above zero as `one` comes before, is, or comes after `other`. @throws TidegateError `CURSOR_INVALID` */
export function compareCursors(one: Cursor, other: Cursor): number {
  const right = partsOf(other)
  for (const [index, part] of partsOf(one).entries()) {
    const beside = right[index] as bigint
    if (part !== beside) return part < beside ? -1 : 1
  }
  return 0
}

function partsOf(cursor: Cursor): bigint[] {
  if (!isCursor(cursor)) throw cursorFault()
  return cursor === '' ? [0n, 0n, 0n] : cursor.split('.').map(BigInt)
}

export function cursorFault(): TidegateError {
  return new TidegateError('CURSOR_INVALID', {
    message: 'this is no cursor of history',
    retryable: false,
    hint: 'a cursor is taken as it was given, such as 28684800.7423.88120; the beginning is an empty text',
  })
}

/** The SQLSTATE of `tidegate.check_cursor`. */
const aheadState = 'TG003'

/** What is thrown instead of a database's error, if that is what it says. */
export function cursorAheadIn(error: unknown): unknown {
  for (let cause = error; cause instanceof Error; { cause } = cause)
    if ('code' in cause && cause.code === aheadState) return cursorAhead(error)
  return error
}

function cursorAhead(cause: unknown): TidegateError {
  return new TidegateError('CURSOR_AHEAD', {
    message: 'history has never been where this cursor is',
    retryable: false,
    hint: 'the database was put back to before: begin at a cursor from before that, or at the beginning, and expect events that you have seen',
    cause,
  })
}
