import { z } from 'zod'
import { attachedType, cloudLedger, retiredType } from '../../src/contract/event.ts'
import { dedupWindowMs } from '../history/history-postgres.ts'

type Query = <Row extends object>(text: string, values?: readonly unknown[]) => Promise<Row[]>

interface LedgerName {
  gateway: string
  epoch: string
}

/** A range of a ledger that is in an archive, and no more in history. */
export interface RetiredRange {
  from: number
  to: number
  /** The chain value of `to`. */
  chain: string
}

/** What retention took away, as far as the cloud's own ledger says so (G8), and nobody has brought back. */
export interface Retirements {
  /** In order. */
  rangesOf(ledger: LedgerName): Promise<RetiredRange[]>
  /** The last sequence of a ledger that was retired; 0: none was. */
  through(ledger: LedgerName): Promise<number>
  ledgers(): Promise<LedgerName[]>
  /** The deeds that nobody has undone, sorted. */
  readonly standing: readonly string[]
  /** Whether what was recorded within the window of duplicates around this moment (ms) may be in an archive. */
  mayHaveIdentityOf(recordedMs: number): boolean
}

const time = z.iso.datetime({ offset: true })

/** Of the text: what stands in the columns beside it proves nothing. */
const retiredSchema = z.object({
  type: z.literal(retiredType),
  gateway: z.literal(cloudLedger),
  epoch: z.string(),
  sequence: z.number(),
  data: z.object({
    deed: z.string(),
    /** null: from whenever. */
    from: time.nullable(),
    until: time,
    ranges: z.array(
      z.object({
        gateway: z.string(),
        epoch: z.string(),
        from: z.int(),
        to: z.int(),
        chain: z.string(),
      }),
    ),
  }),
})

const attachedSchema = z.object({
  type: z.literal(attachedType),
  gateway: z.literal(cloudLedger),
  epoch: z.string(),
  sequence: z.number(),
  data: z.object({ retirement: z.string() }),
})

const textSchema = z.union([retiredSchema, attachedSchema])
type RetiredText = z.infer<typeof retiredSchema>

/** Each may be some 100 KB. */
const pageRows = 50

// The cloud's own ledger is never retired: what it says is there.
const textsSql = `
select e.epoch, e.sequence::float8 as sequence, e.body::text as body from tidegate.events as e
where e.gateway = '${cloudLedger}' and e.type in ('${retiredType}', '${attachedType}') and (e.epoch, e.sequence) > ($1, $2)
order by e.epoch, e.sequence limit ${pageRows}`

const citingSql = `
select retirement::text as retirement, gateway, epoch, from_sequence::float8 as "from", to_sequence::float8 as "to", chain
from tidegate.retired where event_epoch = $1 and event_sequence = $2`

const rangesSql = `
select from_sequence::float8 as "from", to_sequence::float8 as "to", chain, retirement::text as retirement,
       event_epoch || '/' || event_sequence as cites
from tidegate.retired where gateway = $1 and epoch = $2 order by from_sequence, to_sequence`

const ledgersSql = `select distinct gateway, epoch from tidegate.retired`

/**
 * Reads all that the cloud's own ledger says of it, once: some events for each archive, with one range for each ledger of it where nothing
 * is missing, however many events are in it. What is kept of them is a line an archive (G7). Rows that it does not say are believed in nothing.
 */
export async function readRetirements(query: Query): Promise<Retirements> {
  const proven = new Set<string>()
  const attached = new Set<string>()
  const spans = new Map<string, { fromMs: number; untilMs: number }>()
  for (let after: [string, number] = ['', 0]; ;) {
    const rows = await query<{ epoch: string; sequence: number; body: string }>(textsSql, after)
    for (const row of rows) {
      const text = textSchema.safeParse(JSON.parse(row.body)).data
      if (text?.epoch !== row.epoch || text.sequence !== row.sequence) continue
      if (text.type === attachedType) attached.add(text.data.retirement)
      else if (await saysAll(query, text)) {
        const { deed, from, until } = text.data
        proven.add(`${row.epoch}/${row.sequence}`)
        spans.set(deed, {
          fromMs: from === null ? -Infinity : Date.parse(from),
          untilMs: Date.parse(until),
        })
      }
    }
    const last = rows.at(-1)
    if (!last || rows.length < pageRows) break
    after = [last.epoch, last.sequence]
  }
  const standing = [...spans.keys()].filter((deed) => !attached.has(deed)).toSorted()
  const open = standing.map((deed) => spans.get(deed)).filter((span) => span !== undefined)
  async function rangesOf({ gateway, epoch }: LedgerName): Promise<RetiredRange[]> {
    if (proven.size === 0) return []
    const rows = await query<RangeRow>(rangesSql, [gateway, epoch])
    return rows
      .filter(({ retirement, cites }) => proven.has(cites) && !attached.has(retirement))
      .map(({ from, to, chain }) => ({ from, to, chain }))
  }

  /** Asked for each note on a loss. */
  const known = new Map<string, number>()
  return {
    rangesOf,
    standing,
    async through(ledger) {
      const name = `${ledger.gateway}/${ledger.epoch}`
      const through = known.get(name) ?? (await rangesOf(ledger)).at(-1)?.to ?? 0
      known.set(name, through)
      return through
    },
    ledgers: async () => (proven.size === 0 ? [] : query<LedgerName>(ledgersSql)),
    mayHaveIdentityOf: (recordedMs) =>
      open.some(
        ({ fromMs, untilMs }) =>
          recordedMs + dedupWindowMs >= fromMs && recordedMs - dedupWindowMs <= untilMs,
      ),
  }
}

type RangeRow = RetiredRange & { retirement: string; cites: string }

/** Whether each row that rests on this event is in its text. */
async function saysAll(query: Query, { epoch, sequence, data }: RetiredText): Promise<boolean> {
  const said = new Set(data.ranges.map((range) => rangeKey({ ...range, retirement: data.deed })))
  const rows = await query<Parameters<typeof rangeKey>[0]>(citingSql, [epoch, sequence])
  return rows.every((row) => said.has(rangeKey(row)))
}

function rangeKey(range: RetiredRange & LedgerName & { retirement: string }): string {
  const { retirement, gateway, epoch, from, to, chain } = range
  return `${retirement} ${gateway} ${epoch} ${from} ${to} ${chain}`
}

export interface RetiredPart {
  from: number
  to: number
  range: RetiredRange | undefined
}

/** Whether a place is in an archive. */
export function retiredAt(ranges: readonly RetiredRange[], sequence: number): boolean {
  return ranges.some(({ from, to }) => from <= sequence && sequence <= to)
}

/** Parts a hole by what was retired of it. `ranges` are in order. */
export function partedByRetired(ranges: readonly RetiredRange[], from: number, to: number): RetiredPart[] {
  const parts: RetiredPart[] = []
  let at = from
  for (const range of ranges) {
    if (range.to < at) continue
    if (range.from > to) break
    if (range.from > at) parts.push({ from: at, to: range.from - 1, range: undefined })
    const begin = Math.max(at, range.from)
    const end = Math.min(to, range.to)
    parts.push({ from: begin, to: end, range })
    at = end + 1
  }
  if (at <= to) parts.push({ from: at, to, range: undefined })
  return parts
}
