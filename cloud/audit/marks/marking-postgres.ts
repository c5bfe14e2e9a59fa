import type { LedgerInDatabase, Marking } from '../audit-postgres.ts'
import type { DemandedHead } from '../checkpoints.ts'
import type { Query } from '../notes-postgres.ts'
import type { LedgerName } from '../notes.ts'
import type { LedgerState } from '../ledger.ts'
import { ledgerKey } from '../../deeds/acceptances.ts'
import { claimedChain } from '../../../src/contract/codec.ts'
import {
  digestOfRetired,
  digestOfVouching,
  type Head,
  type Horizon,
  type Mark,
  type MarkedState,
  markedState,
  type MarkFacts,
  soundStates,
  standsAs,
  StatesToKeep,
  thinned,
} from './marks.ts'

const horizonSql = `
select era, extract(epoch from since)::text as since, pg_snapshot_xmin(pg_current_snapshot())::text as tx
from (select era, since from tidegate.eras union all select 0, 'epoch') as eras order by era`

// By the order in which things were stored, whatever their places are: as much is read as is new.
const freshSql = `
select e.gateway, e.epoch, min(e.sequence)::float8 as first
from tidegate.events as e
join unnest($3::text[], $4::text[], $5::int[], $6::text[]) as m (gateway, epoch, era, tx)
  on m.gateway = e.gateway and m.epoch = e.epoch
where (e.era > $1 or (e.era = $1 and e.tx >= $2::xid8)) and (e.era > m.era or (e.era = m.era and e.tx >= m.tx::xid8))
group by e.gateway, e.epoch`

const filledSql = `
select min(e.sequence)::float8 as first
from unnest($3::bigint[], $4::bigint[]) as gap (low, high), lateral (
  select sequence from tidegate.events
  where gateway = $1 and epoch = $2 and sequence between gap.low and gap.high order by sequence limit 1) as e`

const notesSql = `
select encode(sha256(coalesce(string_agg(sha256(convert_to(jsonb_build_array(
         from_sequence, to_sequence, reason, chain, gateway, event_epoch, event_sequence, body::text)::text, 'UTF8')), ''::bytea
         order by from_sequence, to_sequence, reason, gateway), ''::bytea)), 'hex') as notes
from tidegate.ledger_notes where epoch = $1 and from_sequence < $2`

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
  const isForgotten = (mark: LedgerName): boolean => forgotten.includes(ledgerKey(mark))
  const known = new Map(marks.filter((mark) => !isForgotten(mark)).map((mark) => [nameOf(mark), mark]))
  const made = new Map(known)
  let now: Since = { horizon: { era: 0, since: '0', tx: '0' }, fresh: new Map() }

  return {
    heads: [...known.values()].map(headOf),
    async open(query) {
      now = await readSince(query, [...known.values()])
    },
    async begin(query, ledger) {
      const mark = known.get(nameOf(ledger))
      const facts = await readFacts(query, ledger, { mark, fresh: now.fresh })
      const sound = mark === undefined || isFull ? [] : await soundStates(mark, facts)
      const states = new StatesToKeep()
      const from = sound.at(-1)?.state
      let head: Head | undefined = from && { sequence: from.next - 1, chain: from.chain }
      return {
        from,
        onState: (state) => states.add(state),
        onEvent({ sequence, body }) {
          if (sequence > (head?.sequence ?? 0)) head = { sequence, chain: claimedChain(body) ?? null }
        },
        async end(report) {
          const mine = await marked([...states.all], facts)
          const all = thinned([...sound, ...mine], ({ state }) => state.next)
          const { gateway, epoch } = ledger
          // What was marked and is not so any more stays marked, else the next audit would find nothing; and none goes back.
          const isOld = mark && (report.headsLost > 0 || mark.head.sequence > (head?.sequence ?? 0))
          const newest = isOld ? mark.head : head
          if (newest === undefined) return
          const { vouched, retired } = facts
          const seen = { at: isOld ? mark.at : at, horizon: now.horizon }
          made.set(nameOf(ledger), { gateway, epoch, ...seen, vouched, retired, head: newest, states: all })
        },
      }
    },
    made: () => [...made.values()],
  }
}

interface Since {
  horizon: Horizon
  /** The first place of each ledger in which something was stored since it was marked. */
  fresh: Map<string, number>
}

async function readSince(query: Query, marks: readonly Mark[]): Promise<Since> {
  const eras = await query<Horizon>(horizonSql)
  const horizon = eras.at(-1) ?? { era: 0, since: '0', tx: '0' }
  const isOurs = (mark: Mark): boolean => isKnown(mark.horizon, eras)
  const fresh = new Map(marks.filter((mark) => !isOurs(mark)).map((mark) => [nameOf(mark), 1]))
  const ours = marks.filter(isOurs)
  const since = earliest(ours.map((mark) => mark.horizon))
  if (since === undefined) return { horizon, fresh }
  // An index has the order; a plan that reads all of history is never the better one.
  await query('set local enable_seqscan = off')
  const rows = await query<LedgerName & { first: number }>(freshSql, [
    since.era,
    since.tx,
    ours.map(({ gateway }) => gateway),
    ours.map(({ epoch }) => epoch),
    ours.map((mark) => mark.horizon.era),
    ours.map((mark) => mark.horizon.tx),
  ])
  await query('set local enable_seqscan = on')
  for (const row of rows) fresh.set(nameOf(row), row.first)
  return { horizon, fresh }
}

async function readFacts(
  query: Query,
  ledger: LedgerInDatabase,
  { mark, fresh }: Pick<Since, 'fresh'> & { mark: Mark | undefined },
): Promise<MarkFacts> {
  const { gateway, epoch, keys, registry, acceptances, chainAt, doubtsBefore } = ledger
  const { closures, strangerWith, standing, retired } = ledger
  const first = Math.min(
    fresh.get(nameOf(ledger)) ?? Infinity,
    (mark && (await firstFilled(query, mark))) ?? Infinity,
  )
  return {
    firstFresh: first === Infinity ? undefined : first,
    vouched: digestOfVouching(gateway, keys, registry),
    retired: digestOfRetired(standing, retired),
    acceptances,
    chainAt,
    notesBefore: async (sequence) =>
      (await query<{ notes: string }>(notesSql, [epoch, sequence]))[0]?.notes ?? '',
    doubtsBefore,
    stands: (said) =>
      (said.epoch === epoch || strangerWith(said.epoch) === undefined) &&
      standsAs(said, closures.get(said.epoch)?.last),
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

function headOf({ gateway, epoch, at, head }: Mark): DemandedHead {
  return { gateway, epoch, ...head, time: at, isEvent: true }
}

/** Whether what was stored since can be told by it: another era of that number, or a server whose transactions go back, tells nothing. */
function isKnown({ era, since, tx }: Horizon, eras: readonly Horizon[]): boolean {
  const now = eras.at(-1)
  const known = eras.find((one) => one.era === era)
  return known?.since === since && (now?.era !== era || BigInt(tx) <= BigInt(now.tx))
}

function earliest(horizons: readonly Horizon[]): Horizon | undefined {
  return horizons.toSorted((a, b) => a.era - b.era || (BigInt(a.tx) < BigInt(b.tx) ? -1 : 1))[0]
}

function nameOf({ gateway, epoch }: LedgerName): string {
  return `${gateway} ${epoch}`
}
