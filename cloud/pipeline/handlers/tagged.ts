import { TidegateError } from '../../../src/errors.ts'
import type { Queryable, QueryResult } from '../../database/storage.ts'

/** How a handler asks: with a text and its parameters, or as a tag, which makes parameters of what is in it. */
export interface Query {
  /** Any SQL, with `$1`-style parameters; effects belong to this transaction. */
  <Row = Record<string, unknown>>(sql: string, params?: readonly unknown[]): Promise<QueryResult<Row>>
  /**
   * The same, written at its place: `` tx.query`insert into alerts values (${event.device})` ``. What is in braces is a parameter, never SQL,
   * whatever a device has put into it: names of tables and columns cannot stand there. Without parentheses: `` tx.query(`…${x}`) `` is a
   * text that has `x` in it, as SQL. Backslashes reach the database as they are written.
   */
  <Row = Record<string, unknown>>(
    sql: TemplateStringsArray,
    ...params: readonly unknown[]
  ): Promise<QueryResult<Row>>
}

/** All that a consumer's handler sees of its transaction. */
export interface HandlerTransaction {
  query: Query
}

/** What a handler is given of a transaction. */
export function handed(tx: Queryable): HandlerTransaction {
  const query = (
    sql: string | TemplateStringsArray,
    ...given: readonly unknown[]
  ): Promise<QueryResult<never>> =>
    isTemplate(sql)
      ? tx.query(numbered(sql), given)
      : tx.query(sql, given[0] as readonly unknown[] | undefined)
  return { query }
}

function isTemplate(sql: string | TemplateStringsArray): sql is TemplateStringsArray {
  return Array.isArray(sql) && Array.isArray((sql as Partial<TemplateStringsArray>).raw)
}

/**
 * The SQL of a template, with a number for each of its values, and with its backslashes as they are written: but for those before a
 * backtick or a brace, without which neither can stand in it.
 * @throws TidegateError `QUERY_INVALID`
 */
export function numbered({ raw }: TemplateStringsArray): string {
  const parts = raw.map((part) => part.replaceAll(/\\(`|\$(?=\{)|\{)/g, '$1'))
  return parts.reduce((sql, part, index) => {
    if (index === 0) return part
    if (/^\d/.test(part)) throw gluedDigit(index, part)
    return `${sql}$${index}${part}`
  }, '')
}

/** `$1` and `0` would be the parameter `$10`. */
function gluedDigit(index: number, part: string): TidegateError {
  return new TidegateError('QUERY_INVALID', {
    message: `value ${index} of the query is followed by the digit ${part.slice(0, 1)}, as if both were one number`,
    retryable: false,
    hint: 'put all of the value into the braces, or a space behind them',
  })
}
