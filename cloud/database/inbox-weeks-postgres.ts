import type { Statements } from './statements.ts'

/** A week after its border may meet transactions that claimed before it; a statement that claims lasts no longer than that. */
const settledAfterMs = 5 * 60_000
/** While it may, whoever claims asks again so often whether it still does. */
export const guardedMs = 5_000
/** A week that is forgotten is asked for as long as that at the most, and dropped a day later. */
const validMs = 3_600_000

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
  /** What else is kept. */
  others: readonly string[]
  /** What was claimed before there were weeks is kept, too. */
  hasFormer: boolean
  validFromMs: number
  validUntilMs: number
}

/** What the transactions of one storage know of the inbox. All of it is checked against the server's clock by whoever uses it. */
export class InboxMemory {
  weeks: Weeks | undefined
  /** The number of each group, once it is committed. */
  readonly groups = new Map<string, number>()
  /** At this transaction ID none was left that had begun to claim in the week before this one. */
  #mark: { ownFromMs: number; xmax: bigint } | undefined
  #settledMs: number | undefined

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

/** Of the weeks to come, those that are not empty: the server's clock was put back. */
const weeksSql = `
select name, extract(epoch from from_time)::float8 * 1000, extract(epoch from until_time)::float8 * 1000,
  floor(extract(epoch from statement_timestamp()) * 1000)::float8, pg_snapshot_xmin(pg_current_snapshot())::text, pg_snapshot_xmax(pg_current_snapshot())::text
from tidegate.inbox_weeks
where forgotten_at is null
  and (from_time <= statement_timestamp() or pg_relation_size(format('tidegate.%I', name)::regclass) > 0)
order by from_time desc`

type WeekRow = [string, number, number, number, string, string]

/** By whose word this transaction may claim now. One round trip an hour, and at each border; a week that nobody has made is made. */
export async function readWeeks(statements: Statements, memory: InboxMemory): Promise<Weeks> {
  const found = weeksOf(await statements.run<WeekRow>('inbox-weeks', weeksSql, []), memory)
  if (found) return (memory.weeks = found)
  await statements.run('inbox-prepare', 'select tidegate.prepare_inbox()', [])
  const made = weeksOf(await statements.run<WeekRow>('inbox-weeks', weeksSql, []), memory)
  if (made === undefined) throw new Error('the inbox has no week for today')
  // Not remembered: with this transaction it may go again.
  return made
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
    validFromMs: own.fromMs,
    validUntilMs: Math.min(own.untilMs, nowMs + (guard === undefined ? validMs : guardedMs)),
  }
}

/** The table of before, as the list of weeks calls it. */
const former = 'inbox'
