import type { Clock } from '../../src/clock.ts'
import { TidegateError } from '../../src/errors.ts'
import type { Statements } from './statements.ts'

/** A week after its border may meet transactions that claimed before it; a statement that claims lasts no longer than that. */
const settledAfterMs = 5 * 60_000
/** While it may, whoever claims asks again so often whether it still does. */
export const guardedMs = 5_000
/** Tables that this process has not asked for so long it lists anew: one may have been forgotten, and dropped a day later. */
const rememberedMs = 10 * 60_000

interface Week {
  name: string
  fromMs: number
}

/** Which tables a claim has to do with, from when until when by the server's clock. */
export interface Weeks {
  /** Where claims go. */
  own: Week
  /** The week before: where they go as well, and first, because a rival may be at work that claimed there and has not committed. */
  guard: Week | undefined
  /** What else is kept, and the weeks to come: the server's clock may have been ahead. */
  others: readonly string[]
  /** What was claimed before there were weeks is kept, too. */
  hasFormer: boolean
  /** All of them, as the list says it now: a claim is made by no other list. */
  list: string
  validFromMs: number
  validUntilMs: number
}

/** Runs a statement in a transaction of its own, on a connection apart from the pool's, which may all be waiting for it. */
export type Aside = (sql: string, values: readonly unknown[]) => Promise<void>

/** What the transactions of one storage know of the inbox, all of it committed. Each claim has the server check it. */
export class InboxMemory {
  /** The number of each group. */
  readonly groups = new Map<string, number>()
  readonly #runAside: Aside
  readonly #clock: Pick<Clock, 'monotonicMs'>
  readonly #underWay = new Map<string, Promise<void>>()
  #weeks: { weeks: Weeks; readMs: number } | undefined
  /** At this transaction ID none was left that had begun to claim in the week before this one. */
  #mark: { ownFromMs: number; xmax: bigint } | undefined
  #settledMs: number | undefined

  constructor(aside: Aside, clock: Pick<Clock, 'monotonicMs'>) {
    this.#runAside = aside
    this.#clock = clock
  }

  get weeks(): Weeks | undefined {
    if (this.#weeks && this.#clock.monotonicMs() - this.#weeks.readMs < rememberedMs) return this.#weeks.weeks
    return undefined
  }

  remember(weeks: Weeks): void {
    this.#weeks = { weeks, readMs: this.#clock.monotonicMs() }
  }

  /** A claim has failed, or the server says that it is otherwise. */
  forget(): void {
    this.#weeks = undefined
    this.groups.clear()
  }

  /** What several wait for is asked once. A transaction that fails takes nothing of it back, and nobody waits for one that hangs. */
  aside(sql: string, values: readonly unknown[] = []): Promise<void> {
    const key = JSON.stringify([sql, values])
    const underWay =
      this.#underWay.get(key) ?? this.#runAside(sql, values).finally(() => this.#underWay.delete(key))
    this.#underWay.set(key, underWay)
    return underWay
  }

  /** Whether everybody is done who claimed in the week before. Of two who claim one event, in two weeks at once, both would find it new. */
  isSettled(ownFromMs: number, { nowMs, xmin, xmax }: Standing): boolean {
    if (this.#settledMs === ownFromMs) return true
    if (this.#mark?.ownFromMs === ownFromMs) {
      if (xmin < this.#mark.xmax) return false
      this.#settledMs = ownFromMs
      return true
    }
    if (nowMs >= ownFromMs + settledAfterMs) this.#mark = { ownFromMs, xmax }
    return false
  }
}

interface Standing {
  nowMs: number
  xmin: bigint
  xmax: bigint
}

/** What was forgotten in time to come was so by a clock that was ahead. */
const isKept = '(forgotten_at is null or forgotten_at > statement_timestamp())'

/** SQL: `Weeks.list` as it is now. */
export const listSql = `(select string_agg(name, ' ' order by name) from tidegate.inbox_weeks where ${isKept})`

const weeksSql = `
select name, extract(epoch from from_time)::float8 * 1000, extract(epoch from until_time)::float8 * 1000,
  floor(extract(epoch from statement_timestamp()) * 1000)::float8, pg_snapshot_xmin(pg_current_snapshot())::text, pg_snapshot_xmax(pg_current_snapshot())::text
from tidegate.inbox_weeks where ${isKept}
order by from_time desc`

type WeekRow = [string, number, number, number, string, string]

/** By whose word one may claim now. One round trip every ten minutes at the most; a week that nobody has made is made. */
export async function readWeeks(statements: Statements, memory: InboxMemory): Promise<Weeks> {
  const read = async (): Promise<Weeks | undefined> =>
    weeksOf(await statements.run<WeekRow>('inbox-weeks', weeksSql, []), memory)
  let weeks = await read()
  if (weeks === undefined) {
    await memory.aside('select tidegate.prepare_inbox()')
    weeks = await read()
  }
  if (weeks === undefined) throw inboxFault('the inbox has no week for today')
  memory.remember(weeks)
  return weeks
}

/** An outage: no event is at fault, and it is tried again. */
export function inboxFault(message: string): TidegateError {
  return new TidegateError('DATABASE_FAULT', {
    message,
    retryable: true,
    hint: 'see tidegate.inbox_weeks, the clock of PostgreSQL’s server, and what `select tidegate.prepare_inbox()` says',
  })
}

function weeksOf(rows: readonly WeekRow[], memory: InboxMemory): Weeks | undefined {
  const [, , , nowMs = 0, xmin = '0', xmax = '0'] = rows[0] ?? []
  const there = rows.map(([name, fromMs, untilMs]) => ({ name, fromMs, untilMs }))
  const weeks = there.filter(({ name }) => name !== former)
  const own = weeks.find(({ fromMs, untilMs }) => fromMs <= nowMs && nowMs < untilMs)
  if (own === undefined) return undefined
  const standing = { nowMs, xmin: BigInt(xmin), xmax: BigInt(xmax) }
  const before = weeks.find(({ untilMs }) => untilMs === own.fromMs)
  const guard = before && memory.isSettled(own.fromMs, standing) ? undefined : before
  return {
    own,
    guard,
    others: weeks.filter((week) => week !== own && week !== guard).map(({ name }) => name),
    hasFormer: weeks.length < there.length,
    list: there
      .map(({ name }) => name)
      .toSorted()
      .join(' '),
    validFromMs: own.fromMs,
    validUntilMs: guard === undefined ? own.untilMs : Math.min(own.untilMs, nowMs + guardedMs),
  }
}

/** The table of before, as the list of weeks calls it. */
const former = 'inbox'
