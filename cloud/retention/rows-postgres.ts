import { claimedChain } from '../../src/contract/codec.ts'
import { type AuditFault, parseText } from '../audit/event.ts'
import type { LedgerPlace } from '../history/history.ts'
import type { TextColumns } from '../history/record.ts'
import { type ArchivedRow, Chains, type Examined } from './format.ts'
import { type OwnerSession, type Query, quoted } from './owner-postgres.ts'

/** What is stored at one moment: `pg_snapshot`, and the era. */
export interface Moment {
  snapshot: string
  era: number
}

const momentSql = `select pg_current_snapshot()::text as snapshot, coalesce((select max(era) from tidegate.eras), 0)::int as era`

export async function readMoment(query: Query): Promise<Moment> {
  const [moment] = await query<Moment>(momentSql)
  return moment ?? { snapshot: '1:1:', era: 0 }
}

/** Each may be a third of a megabyte. */
const pageRows = 200

// Rows are stored with the ID of their transaction, and never changed: which of them were there at a moment is known at any later one, and no
// transaction is open for as long as all of them take, which would hold back readers and vacuum.
const rowsSql = (partition: string): string => `
select e.gateway, e.epoch, e.sequence::float8 as sequence, e.era::int as era, e.tx::text as tx, e.position::text as position,
       to_char(e.stored_time at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') as stored, e.disposition, e.reason,
       e.body::text as text, e.source, e.id, e.type, e.subject, e.dataschema,
       extract(epoch from e.time)::float8 * 1000 as "timeMs", extract(epoch from e.recorded_time)::float8 * 1000 as "recordedMs",
       tidegate.is_retired(e.gateway, e.epoch, e.sequence) as "isRetired"
from tidegate.${quoted(partition)} as e
where (e.gateway, e.epoch, e.sequence) > ($3, $4, $5)
  and (e.era < $2 or (e.era = $2 and pg_visible_in_snapshot(e.tx, $1::pg_snapshot)))
order by e.gateway, e.epoch, e.sequence limit ${pageRows}`

interface Row extends ArchivedRow {
  source: string
  id: string
  type: string
  subject: string | null
  dataschema: string | null
  timeMs: number
  recordedMs: number
  isRetired: boolean
}

const chainSql = `
select coalesce(
  (select json_build_object('chain', chain)::text from tidegate.retired
   where gateway = $1 and epoch = $2 and to_sequence = $3 limit 1),
  (select body::text from tidegate.events where gateway = $1 and epoch = $2 and sequence = $3 order by position limit 1)) as text`

/** The rows of a partition as of one moment, in the order of their places, each examined as the audit does it: memory is that of a page. */
export async function* rowsOf(
  { query }: OwnerSession,
  partition: string,
  { snapshot, era }: Moment,
): AsyncGenerator<Examined> {
  const chains = new Chains((place) => chainBefore(query, place))
  for (let after: [string, string, number] = ['', '', 0]; ;) {
    const rows = await query<Row>(rowsSql(partition), [snapshot, era, ...after])
    for (const row of rows) {
      const examined = await chains.examine(row, columnsOf(row))
      yield row.isRetired ? { ...examined, fault: examined.fault ?? doubled(row) } : examined
    }
    const last = rows.at(-1)
    if (last === undefined || rows.length < pageRows) return
    after = [last.gateway, last.epoch, last.sequence]
  }
}

/** In an archive it would be as good as what was retired there. */
function doubled({ sequence, source, id }: Row): AuditFault {
  return { sequence, source, id, kind: 'doubled', detail: 'its place is retired: it was added since' }
}

async function chainBefore(
  query: Query,
  { gateway, epoch, sequence }: LedgerPlace,
): Promise<string | undefined> {
  const [row] = await query<{ text: string | null }>(chainSql, [gateway, epoch, sequence - 1])
  if (row?.text == null) return undefined
  const chain = claimedChain(row.text) ?? parseText(row.text)?.['chain']
  return typeof chain === 'string' ? chain : undefined
}

function columnsOf(row: Row): TextColumns {
  const { source, id, type, subject, dataschema, timeMs, recordedMs } = row
  return {
    source,
    id,
    type,
    subject: subject ?? undefined,
    dataschema: dataschema ?? undefined,
    timeMs: Math.round(timeMs),
    recordedMs: Math.round(recordedMs),
  }
}
