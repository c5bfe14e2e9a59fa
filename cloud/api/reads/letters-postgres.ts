import { isUtf8 } from 'node:buffer'
import type { Database } from '../../database/database-postgres.ts'
import { pageOf, placeOf } from '../rules/cursor.ts'
import type { LetterItem, LetterWhole } from '../rules/shapes.ts'
import type { LettersAsked, Page, Scope, Versioned } from './reads.ts'
import { iso, Where } from './where.ts'

const columns = `letter::float8 as letter, consumer_group as "group", state, code, message, fingerprint, source, id, type, device,
  gateway, epoch, sequence::float8 as sequence, attempts, replays, replay::float8 as replay, edit is not null as edited, instance,
  version, first_failed_at, last_failed_at, closed_at`

const wholeColumns = `${columns}, publisher, routing_key, queue, failures, body, stack, properties, headers, edit`

type ItemRow = Omit<LetterItem, 'firstFailedAt' | 'lastFailedAt' | 'closedAt'> & {
  first_failed_at: Date
  last_failed_at: Date
  closed_at: Date | null
}

interface WholeRow extends ItemRow {
  publisher: string | null
  routing_key: string
  queue: string
  failures: unknown
  body: Buffer
  stack: string | null
  properties: unknown
  headers: unknown
  edit: unknown
}

type Query = Database['query']

const list = 'dead-letters'

/** Newest first. */
export async function readLetters(
  query: Query,
  asked: LettersAsked,
  scope: Scope,
): Promise<Page<LetterItem>> {
  const { limit, state } = asked
  const where = new Where()
  const causes = causesOf(asked, where)
  where
    .and('consumer_group = ?', asked.group)
    .and('fingerprint = ?', asked.fingerprint)
    .and('device = ?', asked.device)
    .and('code = ?', asked.code)
    .and('type = ?', asked.type)
    .and('last_failed_at >= to_timestamp(?::float8 / 1000)', asked.sinceMs)
    .and('last_failed_at < to_timestamp(?::float8 / 1000)', asked.untilMs)
    .and('consumer_group = any(?::text[])', scope.groups)
    .and('type = any(?::text[])', scope.types)
  if (state === undefined) where.always(`state in ('open', 'replaying')`)
  else if (state !== 'all') where.and('state = ?', state)
  if (asked.after !== undefined) where.and('letter < ?', placeOf(list, asked.after, [0])[0])
  if (causes !== undefined) where.always('l.fingerprint = g.cause')
  // By its own column, for which there are indexes, and not by what is made of it here.
  const last = `order by l.letter desc limit ${where.value(limit + 1)}`
  const letters = `from tidegate.dead_letters as l ${where.sql} ${last}`
  const sql =
    causes === undefined
      ? `select ${columns} ${letters}`
      : `select ${columns} from (${causes}) as g cross join lateral (select l.* ${letters}) as l ${last}`
  const rows = await query<ItemRow>(sql, where.values)
  return pageOf(list, rows.map(itemOf), { limit, place: ({ letter }) => [letter] })
}

/**
 * Failure groups that may have letters of this code or type: there are few of them, and by each its letters are found in order. What did
 * not fit into groups of its own lies in one that has no type, or neither type nor code. Undefined: these are not asked for.
 */
function causesOf({ code, type, fingerprint, device }: LettersAsked, values: Where): string | undefined {
  if ((code === undefined && type === undefined) || (fingerprint ?? device) !== undefined) return undefined
  const isRest = `(code = 'UNEXPECTED' and type is null and frame is null)`
  const conditions = [
    ...(code === undefined ? [] : [`(code = ${values.value(code)} or ${isRest})`]),
    ...(type === undefined ? [] : [`(type = ${values.value(type)} or type is null)`]),
  ]
  return `select fingerprint as cause from tidegate.failure_groups where ${conditions.join(' and ')}`
}

export async function readLetter(
  query: Query,
  letter: number,
  scope: Scope,
): Promise<Versioned<LetterWhole> | undefined> {
  const where = new Where()
    .and('letter = ?', letter)
    .and('consumer_group = any(?::text[])', scope.groups)
    .and('type = any(?::text[])', scope.types)
  const sql = `select ${wholeColumns} from tidegate.dead_letters ${where.sql}`
  const [row] = await query<WholeRow>(sql, where.values)
  return row && { item: wholeOf(row), version: versionOf(row) }
}

/** What the deeds compare with when a letter is edited (`LetterState.version`). */
function versionOf({ state, replays, edit }: WholeRow): string {
  const deed = typeof edit === 'object' && edit !== null && 'deed' in edit ? String(edit.deed) : 'as-it-came'
  return [state, replays, deed].join('.')
}

function itemOf({ first_failed_at, last_failed_at, closed_at, ...row }: ItemRow): LetterItem {
  return {
    ...row,
    firstFailedAt: iso(first_failed_at),
    lastFailedAt: iso(last_failed_at),
    closedAt: iso(closed_at),
  }
}

function wholeOf({ body, routing_key, failures, ...row }: WholeRow): LetterWhole {
  const isText = isUtf8(body)
  return {
    ...itemOf(row),
    publisher: row.publisher,
    routingKey: routing_key,
    queue: row.queue,
    failures: Array.isArray(failures) ? (failures as LetterWhole['failures']) : [],
    bodyBytes: body.length,
    body: isText ? body.toString() : null,
    bodyBase64: isText ? null : body.toString('base64'),
    stack: row.stack,
    properties: row.properties,
    headers: row.headers,
    edit: row.edit,
  }
}
