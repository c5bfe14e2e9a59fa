/** A row of history, as a reader gets it. */
export interface OrderedRow {
  tx: number
  position: number
  place: string
}

/**
 * In which order history was written: a transaction is numbered when it first writes, a row when it is written, and both can be seen when
 * it is committed, however much later; what is rolled back leaves gaps. As PostgreSQL's IDs and sequences do, and `tidegate.read_events`.
 */
export class HistoryOrder {
  /** By transaction, those that have written and not ended. */
  private readonly open = new Map<object, number>()
  private readonly rows: OrderedRow[] = []
  private transactions = 0
  private positions = 0
  landedAtMs = 0

  /** It is to write, and has a number from here on; whatever others write meanwhile may have lower positions. */
  begin(transaction: object): number {
    const tx = this.open.get(transaction) ?? ++this.transactions
    this.open.set(transaction, tx)
    return tx
  }

  /** A row of a transaction that is under way. */
  number(transaction: object, place: string): OrderedRow {
    return { tx: this.begin(transaction), position: ++this.positions, place }
  }

  landed(row: OrderedRow, nowMs: number): void {
    this.rows.push(row)
    this.landedAtMs = nowMs
  }

  /** Committed or not. */
  end(transaction: object): void {
    this.open.delete(transaction)
  }

  /** After a crash the IDs are given again of those that stored nothing, and come after the last that did: they were on no disk. */
  crashed(): void {
    this.open.clear()
    this.transactions = Math.max(0, ...this.rows.map(({ tx }) => tx))
  }

  /** The cursor of the last row that can be read. */
  get last(): string {
    const { horizon } = this
    const row = this.rows
      .filter(({ tx }) => tx < horizon)
      .toSorted(inOrder)
      .at(-1)
    return row === undefined ? '' : `1.${row.tx}.${row.position}`
  }

  /** All that was written, in the order in which it is read. */
  places(): string[] {
    return this.rows.toSorted(inOrder).map(({ place }) => place)
  }

  /** The oldest that has not ended, else the next. */
  get horizon(): number {
    return Math.min(this.transactions + 1, ...this.open.values())
  }

  /** Rows after a cursor, `era.tx.position`, as one statement sees them. */
  page(after: string, max: number): OrderedRow[] {
    const [, tx = 0, position = 0] = after.split('.').map(Number)
    const { horizon } = this
    return this.rows
      .filter((row) => row.tx > tx || (row.tx === tx && row.position > position))
      .filter((row) => row.tx < horizon)
      .toSorted(inOrder)
      .slice(0, max)
  }
}

function inOrder(one: OrderedRow, other: OrderedRow): number {
  return one.tx - other.tx || one.position - other.position
}

/** As the one statement of `postgresReader` answers. */
export function pageOf<Row extends unknown[]>(
  order: HistoryOrder,
  after: string,
  max: number,
  textOf: (place: string) => string,
): Row[] {
  const horizon = order.last
  const rows = order
    .page(after, max)
    .map(({ tx, position, place }) => [
      horizon,
      `1.${tx}.${position}`,
      position,
      0,
      'accepted',
      textOf(place),
      '',
      '',
      '',
      '',
      '',
      0,
    ])
  return (rows.length === 0 ? [[horizon, null]] : rows) as unknown as Row[]
}
