import { claimedChain } from '../../src/contract/codec.ts'
import { TidegateError } from '../../src/errors.ts'
import type { LedgerPlace } from '../history/history.ts'
import { type ArchivedRow, Chains, type StoredColumns } from './format.ts'
import { type OwnerSession, type Query, quoted } from './owner-postgres.ts'

/** Each may be a third of a megabyte. */
const fetchRows = 200

const rowsSql = (partition: string): string => `
declare archived no scroll cursor for
select e.gateway, e.epoch, e.sequence::float8 as sequence, e.era::int as era, e.tx::text as tx, e.position::text as position,
       to_char(e.stored_time at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') as stored, e.disposition, e.reason,
       e.body::text as text, e.source, e.id, e.type, e.subject, e.dataschema,
       extract(epoch from e.time)::float8 * 1000 as "timeMs", extract(epoch from e.recorded_time)::float8 * 1000 as "recordedMs"
from tidegate.${quoted(partition)} as e order by e.gateway, e.epoch, e.sequence`

interface Row extends ArchivedRow {
  source: string
  id: string
  type: string
  subject: string | null
  dataschema: string | null
  timeMs: number
  recordedMs: number
}

const chainSql = `
select coalesce(
  (select body::text from tidegate.events where gateway = $1 and epoch = $2 and sequence = $3),
  (select json_build_object('chain', chain)::text from tidegate.retired as r
   where gateway = $1 and epoch = $2 and to_sequence = $3
     and not exists (select from tidegate.attachments as a where a.retirement = r.retirement) limit 1)) as text`

/**
 * The rows of a partition as of one moment, in the order of their places, by a cursor: memory is that of a page. Each is examined as the audit
 * does it.
 * @throws TidegateError `ARCHIVE_REFUSED`: what is not as it was written is not archived, for the archive would make it look as if it were
 */
export async function* rowsOf({ query }: OwnerSession, partition: string): AsyncGenerator<ArchivedRow> {
  const chains = new Chains((place) => chainBefore(query, place))
  await query(rowsSql(partition))
  for (;;) {
    const rows = await query<Row>(`fetch ${fetchRows} from archived`)
    for (const row of rows) {
      const fault = await chains.examine(row, columnsOf(row))
      if (fault !== undefined) throw refused(row, fault.detail)
      yield row
    }
    if (rows.length < fetchRows) return
  }
}

async function chainBefore(
  query: Query,
  { gateway, epoch, sequence }: LedgerPlace,
): Promise<string | undefined> {
  const [row] = await query<{ text: string | null }>(chainSql, [gateway, epoch, sequence - 1])
  if (row?.text == null) return undefined
  return claimedChain(row.text) ?? (JSON.parse(row.text) as { chain?: string }).chain
}

function columnsOf(row: Row): StoredColumns {
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

function refused({ gateway, epoch, sequence }: LedgerPlace, detail: string): TidegateError {
  return new TidegateError('ARCHIVE_REFUSED', {
    message: `${gateway}/${epoch}/${sequence} is not as it was written: ${detail}`,
    retryable: false,
    hint: 'see what tidegate audit says of this ledger, and restore the event from a backup; nothing was archived or dropped',
  })
}
