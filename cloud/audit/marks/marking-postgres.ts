import type { LedgerInDatabase, Marking } from '../audit-postgres.ts'
import type { DemandedHead } from '../checkpoints.ts'
import type { Query } from '../notes-postgres.ts'
import type { LedgerName } from '../notes.ts'
import type { LedgerState } from '../ledger.ts'
import {
  digestOfVouching,
  type Horizon,
  type Mark,
  type MarkedState,
  markedState,
  type MarkFacts,
  soundStates,
  StatesToKeep,
  thinned,
} from './marks.ts'

const horizonSql = `
select (select coalesce(max(era), 0) from tidegate.eras) as era, pg_snapshot_xmin(pg_current_snapshot())::text as tx`

// By the order in which things were stored, whatever their places are: as much is read as is new.
const freshSql = `
select gateway, epoch, min(sequence)::float8 as first from tidegate.events
where era > $1 or (era = $1 and tx >= $2::xid8) group by gateway, epoch`

const filledSql = `
select min(e.sequence)::float8 as first
from unnest($3::bigint[], $4::bigint[]) as gap (low, high), lateral (
  select sequence from tidegate.events
  where gateway = $1 and epoch = $2 and sequence between gap.low and gap.high order by sequence limit 1) as e`

const notesSql = `select count(*)::int as notes from tidegate.ledger_notes where epoch = $1 and from_sequence < $2`

export interface MarkingOptions {
  marks: readonly Mark[]
  /** Reads everything. The marks must hold all the same. */
  isFull: boolean
  /** Ledgers, as `GATEWAY/EPOCH`, whose marks are made anew although they are not as they were marked. */
  forgotten: readonly string[]
  /** RFC 3339 */
  at: string
}

/** Marks that audits go on from, and that they make anew. */
export function markingIn({ marks, isFull, forgotten, at }: MarkingOptions): Marking & { made(): Mark[] } {
  const isForgotten = (mark: LedgerName): boolean => forgotten.includes(`${mark.gateway}/${mark.epoch}`)
  const known = new Map(marks.filter((mark) => !isForgotten(mark)).map((mark) => [nameOf(mark), mark]))
  const made = new Map(known)
  let horizon: Horizon = { era: 0, tx: '0' }
  const fresh = new Map<string, number>()

  async function factsOf(query: Query, ledger: LedgerInDatabase, mark: Mark | undefined): Promise<MarkFacts> {
    const { gateway, epoch, keys, registry, acceptances, chainAt, closures, strangerWith } = ledger
    const first = Math.min(
      fresh.get(nameOf(ledger)) ?? Infinity,
      (mark && (await firstFilled(query, mark))) ?? Infinity,
    )
    return {
      firstFresh: first === Infinity ? undefined : first,
      vouched: digestOfVouching(gateway, keys, registry),
      acceptances,
      chainAt,
      notesBefore: async (sequence) =>
        (await query<{ notes: number }>(notesSql, [epoch, sequence]))[0]?.notes ?? 0,
      stands: ({ epoch: about, last }) =>
        (about === epoch || strangerWith(about) === undefined) &&
        (last === null || (closures.get(about)?.last ?? -1) >= last),
    }
  }

  return {
    heads: [...known.values()].map(headOf).filter((head) => head !== undefined),
    async open(query) {
      const [now] = await query<Horizon>(horizonSql)
      horizon = now ?? horizon
      const since = earliest([...known.values()].map((mark) => mark.horizon))
      if (since === undefined) return
      // An index has the order; a plan that reads all of history is never the better one.
      await query('set local enable_seqscan = off')
      const rows = await query<LedgerName & { first: number }>(freshSql, [since.era, since.tx])
      await query('set local enable_seqscan = on')
      for (const row of rows) fresh.set(nameOf(row), row.first)
    },
    async begin(query, ledger) {
      const mark = known.get(nameOf(ledger))
      const facts = await factsOf(query, ledger, mark)
      const sound = mark === undefined || isFull ? [] : await soundStates(mark, facts)
      const states = new StatesToKeep()
      return {
        from: sound.at(-1)?.state,
        onState: (state) => states.add(state),
        async end(report) {
          // What was marked and is not so any more stays marked: else the next audit would find nothing.
          if (report.headsLost > 0) return
          const mine = await marked([...states.all], facts)
          const all = thinned([...sound, ...mine], ({ state }) => state.next)
          const { gateway, epoch } = ledger
          // A mark never goes back: whoever adds a place in front of it must not have it forgotten.
          if (nextOf(all) > 0 && nextOf(all) >= nextOf(mark?.states ?? []))
            made.set(nameOf(ledger), { gateway, epoch, at, horizon, vouched: facts.vouched, states: all })
        },
      }
    },
    made: () => [...made.values()],
  }
}

async function marked(states: readonly LedgerState[], facts: MarkFacts): Promise<MarkedState[]> {
  const all: MarkedState[] = []
  for (const state of thinned(states, ({ next }) => next)) all.push(await markedState(state, facts))
  return all
}

/** Rows that are put back from a copy, with all that they had, are new nowhere but in their places. */
async function firstFilled(query: Query, { gateway, epoch, states }: Mark): Promise<number | undefined> {
  const gaps = states.at(-1)?.state.found.gaps.ranges ?? []
  if (gaps.length === 0) return undefined
  const [row] = await query<{ first: number | null }>(filledSql, [
    gateway,
    epoch,
    gaps.map(([low]) => low),
    gaps.map(([, high]) => high),
  ])
  return row?.first ?? undefined
}

function nextOf(states: readonly MarkedState[]): number {
  return states.at(-1)?.state.next ?? 0
}

function headOf({ gateway, epoch, at, states }: Mark): DemandedHead | undefined {
  const last = states.at(-1)?.state
  if (last === undefined || last.chain === null) return undefined
  return { gateway, epoch, sequence: last.next - 1, chain: last.chain, time: at }
}

function earliest(horizons: readonly Horizon[]): Horizon | undefined {
  return horizons.toSorted((a, b) => a.era - b.era || (BigInt(a.tx) < BigInt(b.tx) ? -1 : 1))[0]
}

function nameOf({ gateway, epoch }: LedgerName): string {
  return `${gateway} ${epoch}`
}
