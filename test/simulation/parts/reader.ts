import type { Statements } from '../../../cloud/database/statements.ts'
import { postgresReader } from '../../../cloud/history/reader-postgres.ts'
import type { Chance } from '../plan/chance.ts'
import type { SimulatedDatabase } from './database.ts'
import { pageOf } from './history-order.ts'
import { SimulatedProcess } from './process.ts'
import type { Scheduler } from './scheduler.ts'
import { unreachable } from './transaction.ts'

export interface ReaderParts {
  scheduler: Scheduler
  /** A stream of its own: what else happens in a run does not depend on who reads. */
  random: Chance
  database: SimulatedDatabase
}

const pageMax = 7

/** Reads history from its beginning, page by page, while it is written; keeps its cursor. */
export class HistoryReaderAtWork {
  /** Places of the ledger, in the order in which they came. */
  readonly seen: string[] = []
  private readonly parts: ReaderParts
  private readonly process: SimulatedProcess
  private cursor = ''
  private emptySinceMs = -1

  constructor(parts: ReaderParts) {
    this.parts = parts
    this.process = new SimulatedProcess('reader', parts.scheduler, { offsetMs: 0 })
  }

  /** It has read to the end since the last row has come. */
  get quiet(): boolean {
    return this.emptySinceMs > this.parts.database.order.landedAtMs
  }

  start(): void {
    void this.run()
  }

  private async run(): Promise<never> {
    const { random } = this.parts
    const reader = postgresReader(this.statements())
    for (;;) {
      const askedMs = this.parts.scheduler.nowMs
      try {
        const { events, next, more } = await reader.read(this.cursor, { max: pageMax })
        this.seen.push(...events.map(({ text }) => text))
        this.cursor = next
        if (events.length === 0) this.emptySinceMs = askedMs
        if (more) continue
      } catch {
        // The database is down: it asks again from where it was.
      }
      await this.process.step('reader waits', random.between(1, 400))
    }
  }

  /** The one statement of the reader's, whose answer may be lost on its way. */
  private statements(): Statements {
    const { database, random } = this.parts
    return {
      run: async <Row extends unknown[]>(_name: string, _text: string, values: readonly unknown[]) => {
        await this.process.step('reader asks', random.between(0.1, 20))
        if (!database.up) throw unreachable('connection refused')
        const [after, , max] = values as [string, unknown, number]
        const { order } = database
        const rows = pageOf<Row>(order, after, max, (place) => place)
        await this.process.step('reader is answered', random.between(0.1, 20))
        return rows
      },
    }
  }
}
