import { createHash } from 'node:crypto'
import { z } from 'zod'
import { cloudLedger, retiredType } from '../../src/contract/event.ts'

type Query = <Row extends object>(text: string, values?: readonly unknown[]) => Promise<Row[]>

interface LedgerName {
  gateway: string
  epoch: string
}

/** A range of a ledger that is in an archive, and no more in history. */
export interface RetiredRange {
  from: number
  to: number
  /** The chain value of the place before `from`; null: no event was there when it was retired. */
  before: string | null
  /** The chain value of `to`. */
  chain: string
  /** Its archive is attached: each of its events can be read. */
  isAttached?: boolean
}

/** What retention took away: what the owner of the tables has put down, as far as the cloud's own ledger says the same (G8). */
export interface Retirements {
  /** In order. */
  rangesOf(ledger: LedgerName): Promise<RetiredRange[]>
  /** The last sequence of a ledger that was retired; 0: none was. */
  through(ledger: LedgerName): Promise<number>
  ledgers(): Promise<LedgerName[]>
  /** Of what an audit rests on: the deeds, and which archives are attached; sorted. */
  readonly standing: readonly string[]
  /** The archives that are attached, and were retired here. */
  readonly attached: readonly string[]
  /** Of the texts of repeats those whose original is in an archive: each was noted before that went there. */
  withOriginals(texts: readonly string[]): Promise<ReadonlySet<string>>
}

const time = z.iso.datetime({ offset: true })
const said = {
  /** A UUID of any version: the tables have it as such, and are asked for it by their indexes. */
  deed: z.guid(),
  partition: z.string(),
  /** null: from whenever. */
  from: time.nullable(),
  until: time,
  sha256: z.string(),
  events: z.int(),
  /** How many repeats have their original in it, and the SHA-256 of their SHA-256, in order. */
  repeats: z.object({ count: z.int(), sha256: z.string() }),
}

/** Of the text: what stands in the columns beside it proves nothing. */
const textSchema = z.object({
  type: z.literal(retiredType),
  gateway: z.literal(cloudLedger),
  epoch: z.string(),
  sequence: z.number(),
  data: z.object({
    ...said,
    ranges: z.array(
      z.object({
        gateway: z.string(),
        epoch: z.string(),
        from: z.int(),
        to: z.int(),
        before: z.string().nullable(),
        chain: z.string(),
      }),
    ),
  }),
})

type RetiredText = z.infer<typeof textSchema>
type Said = Omit<RetiredText['data'], 'ranges'>

/** Each may be some 100 KB. */
const pageRows = 50

// The cloud's own ledger is never retired: what it says is there.
const textsSql = `
select e.epoch, e.sequence::float8 as sequence, e.body::text as body from tidegate.events as e
where e.gateway = '${cloudLedger}' and e.type = '${retiredType}' and (e.epoch, e.sequence) > ($1, $2)
order by e.epoch, e.sequence limit ${pageRows}`

const iso = (column: string): string =>
  `case when isfinite(${column}) then to_char(${column} at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') end`

const retirementSql = `
select retirement::text as deed, partition, ${iso('from_time')} as "from", ${iso('until_time')} as until, sha256, events::float8 as events,
       json_build_object('count', repeats, 'sha256', repeats_sha256) as repeats
from tidegate.retirements where retirement = $1::uuid`

const rangeColumns = `from_sequence::float8 as "from", to_sequence::float8 as "to", chain_before as before, chain`

/** Of texts of repeats, what an event says of them: how many there are, and the SHA-256 of their SHA-256, in order. */
export const repeatsDigest = `
count(*)::float8 as count,
encode(sha256(coalesce(string_agg(text_sha256, ''::bytea order by text_sha256), ''::bytea)), 'hex') as sha256`

/** By which the text of a repeat is known. */
export function textHash(text: string): string {
  return createHash('sha256').update(text).digest('hex')
}

const repeatsSql = `
select ${repeatsDigest}
from tidegate.retired_repeats where retirement = $1::uuid`

const withOriginalsSql = `
select distinct encode(text_sha256, 'hex') as sha256 from tidegate.retired_repeats
where text_sha256 = any(array(select decode(hex, 'hex') from unnest($1::text[]) as hex)) and retirement = any($2::uuid[])`

const citingSql = `
select retirement::text as retirement, gateway, epoch, ${rangeColumns}
from tidegate.retired where event_epoch = $1 and event_sequence = $2`

const rangesSql = `
select ${rangeColumns}, event_epoch || '/' || event_sequence as cites, retirement::text as retirement
from tidegate.retired where gateway = $1 and epoch = $2 order by from_sequence, to_sequence`

const ledgersSql = `select distinct gateway, epoch from tidegate.retired`

const attachedSql = `
select archive, retirement::text as retirement, attached_at::text as at from tidegate.attachments where retirement is not null order by archive`

/**
 * Reads all that is said of it, once: some events of the cloud's own ledger for each archive, with one range for each ledger of it where
 * nothing is missing, however many events are in it. What is kept of them is a line an archive (G7). Neither is enough by itself: the cloud's
 * user can write events, and not the tables beside them; and rows that no event says are believed in nothing.
 */
export async function readRetirements(query: Query): Promise<Retirements> {
  const proven = new Set<string>()
  const deeds = new Map<string, Said>()
  for (let after: [string, number] = ['', 0]; ;) {
    const rows = await query<{ epoch: string; sequence: number; body: string }>(textsSql, after)
    for (const row of rows) {
      const text = textSchema.safeParse(JSON.parse(row.body)).data
      if (text?.epoch !== row.epoch || text.sequence !== row.sequence) continue
      if (!(await isPutDown(query, text))) continue
      proven.add(`${row.epoch}/${row.sequence}`)
      deeds.set(text.data.deed, text.data)
    }
    const last = rows.at(-1)
    if (!last || rows.length < pageRows) break
    after = [last.epoch, last.sequence]
  }
  const attachments = await query<{ archive: string; retirement: string; at: string }>(attachedSql)
  const attached = attachments.filter(({ retirement }) => deeds.has(retirement))
  async function rangesOf({ gateway, epoch }: LedgerName): Promise<RetiredRange[]> {
    if (proven.size === 0) return []
    const rows = await query<RetiredRange & { cites: string; retirement: string }>(rangesSql, [
      gateway,
      epoch,
    ])
    return rows
      .filter(({ cites }) => proven.has(cites))
      .map(({ from, to, before, chain, retirement }) => {
        const isAttached = attached.some((one) => one.retirement === retirement)
        return { from, to, before, chain, isAttached }
      })
  }

  /** Asked for each note on a loss. */
  const known = new Map<string, number>()
  return {
    rangesOf,
    standing: [...deeds.keys(), ...attached.map(({ archive, at }) => `${archive} ${at}`)].toSorted(),
    attached: attached.map(({ archive }) => archive),
    async through(ledger) {
      const name = `${ledger.gateway}/${ledger.epoch}`
      const through = known.get(name) ?? (await rangesOf(ledger)).at(-1)?.to ?? 0
      known.set(name, through)
      return through
    },
    ledgers: async () => (proven.size === 0 ? [] : query<LedgerName>(ledgersSql)),
    async withOriginals(texts) {
      if (deeds.size === 0 || texts.length === 0) return new Set()
      const byHash = new Map(texts.map((text) => [textHash(text), text]))
      const rows = await query<{ sha256: string }>(withOriginalsSql, [[...byHash.keys()], [...deeds.keys()]])
      return new Set(rows.map(({ sha256 }) => byHash.get(sha256) as string))
    },
  }
}

/** Whether a retirement is put down of which this event says the same, and each row that rests on it is in its text. */
async function isPutDown(query: Query, { epoch, sequence, data }: RetiredText): Promise<boolean> {
  const { deed, ranges } = data
  const [retirement] = await query<Said>(retirementSql, [deed])
  if (retirement === undefined || saidKey(retirement) !== saidKey(data)) return false
  const [repeats] = await query<Said['repeats']>(repeatsSql, [deed])
  if (repeats?.count !== data.repeats.count || repeats.sha256 !== data.repeats.sha256) return false
  const keys = new Set(ranges.map((range) => rangeKey({ ...range, retirement: deed })))
  const rows = await query<RangeRow>(citingSql, [epoch, sequence])
  return rows.every((row) => keys.has(rangeKey(row)))
}

function saidKey({ deed, partition, from, until, sha256, events, repeats }: Said): string {
  const counted = [repeats.count, repeats.sha256]
  return JSON.stringify([
    deed,
    partition,
    from && Date.parse(from),
    Date.parse(until),
    sha256,
    events,
    counted,
  ])
}

type RangeRow = RetiredRange & LedgerName & { retirement: string }

function rangeKey({ retirement, gateway, epoch, from, to, before, chain }: RangeRow): string {
  return JSON.stringify([retirement, gateway, epoch, from, to, before, chain])
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

/** Whether places are in an archive, of places that are asked for in order: without a search. */
export class RetiredPlaces {
  readonly #ranges: readonly RetiredRange[]
  #passed = 0

  /** In order. */
  constructor(ranges: readonly RetiredRange[] = []) {
    this.#ranges = ranges
  }

  has(sequence: number): boolean {
    while ((this.#ranges[this.#passed]?.to ?? Infinity) < sequence) this.#passed++
    for (let at = this.#passed; (this.#ranges[at]?.from ?? Infinity) <= sequence; at++)
      if ((this.#ranges[at]?.to ?? 0) >= sequence) return true
    return false
  }
}

/** Parts a hole by what was retired of it. `ranges` are in order. */
export function partedByRetired(ranges: readonly RetiredRange[], from: number, to: number): RetiredPart[] {
  const parts: RetiredPart[] = []
  let at = from
  for (const range of ranges) {
    if (range.to < at) continue
    if (at > to || range.from > to) break
    if (range.from > at) parts.push({ from: at, to: range.from - 1, range: undefined })
    const begin = Math.max(at, range.from)
    const end = Math.min(to, range.to)
    parts.push({ from: begin, to: end, range })
    at = end + 1
  }
  if (at <= to) parts.push({ from: at, to, range: undefined })
  return parts
}
