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
  /** Where to go on: behind the last, or as far as it is certain that there is nothing more. Never before where it was asked from. */
  next: Cursor
  /** There may be more by now. */
  more: boolean
}

export interface ReadOptions {
  /** Of these types only; absent: all, also those of the gateways' own events. */
  types?: readonly string[] | undefined
  /** 1 to 10000. */
  max: number
}

/**
 * History in an order in which nothing is skipped and nothing comes twice, however long a transaction that stores takes (G4). Port; the
 * adapter is reader-postgres.ts.
 */
export interface HistoryReader {
  /** @throws TidegateError `CURSOR_INVALID` when `after` is none */
  read(after: Cursor, options: ReadOptions): Promise<Page>
}

const form = /^\d{1,5}\.\d{1,19}\.\d{1,18}$/

export function isCursor(text: string): boolean {
  return text === '' || form.test(text)
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
    hint: 'a cursor is taken as it was given, such as 1.7423.88120; the beginning is an empty text',
  })
}
