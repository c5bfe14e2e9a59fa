import type { Queryable, QueryResult } from '../../database/storage.ts'

/** How a handler asks: with a text and its parameters, or as a tag, which makes parameters of what is in it. */
export interface Query {
  /** Any SQL, with `$1`-style parameters; effects belong to this transaction. */
  <Row = Record<string, unknown>>(sql: string, params?: readonly unknown[]): Promise<QueryResult<Row>>
  /**
   * The same, written at its place: `` tx.query`insert into alerts values (${event.device})` ``. What is in braces is a parameter, never SQL,
   * whatever a device has put into it: names of tables and columns cannot stand there.
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
    typeof sql === 'string'
      ? tx.query(sql, given[0] as readonly unknown[] | undefined)
      : tx.query(numbered(sql), given)
  return { query }
}

/** The SQL of a template, with a number for each of its values. */
export function numbered(parts: readonly string[]): string {
  return parts.reduce((sql, part, index) => (index === 0 ? part : `${sql}$${index}${part}`), '')
}
