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

  /** A row of a transaction that is under way. */
  number(transaction: object, place: string): OrderedRow {
    const tx = this.open.get(transaction) ?? ++this.transactions
    this.open.set(transaction, tx)
    return { tx, position: ++this.positions, place }
  }

  landed(row: OrderedRow, nowMs: number): void {
    this.rows.push(row)
    this.landedAtMs = nowMs
  }

  /** Committed or not. */
  end(transaction: object): void {
    this.open.delete(transaction)
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
      .toSorted((a, b) => a.tx - b.tx || a.position - b.position)
      .slice(0, max)
  }
}
