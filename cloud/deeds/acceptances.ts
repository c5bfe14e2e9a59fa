import { z } from 'zod'
import { acceptanceType, cloudLedger } from '../../src/contract/event.ts'

type Query = <Row extends object>(text: string, values?: readonly unknown[]) => Promise<Row[]>

/** A loss that somebody has put on record as accepted. */
export interface Acceptance {
  from: number
  to: number
  by: string
  /** RFC 3339 */
  at: string
  reason: string
}

interface Row {
  epoch: string
  sequence: number
  storedAt: string
  body: string
}

/** Of the text: what stands in the columns beside it proves nothing. */
const textSchema = z.object({
  gateway: z.literal(cloudLedger),
  epoch: z.string(),
  sequence: z.number(),
  time: z.string(),
  data: z.object({
    gateway: z.string(),
    epoch: z.string(),
    ranges: z.array(z.object({ from: z.int().min(1), to: z.int().min(1) })).max(1000),
    actor: z.string(),
    reason: z.string(),
  }),
})

// The cloud's own ledger is as long as there were deeds: it is read in pages.
const acceptancesSql = `
select e.epoch, e.sequence::float8 as sequence, e.stored_time::text as "storedAt", e.body::text as body from tidegate.events as e
where e.gateway = '${cloudLedger}' and e.type = '${acceptanceType}' and (e.epoch, e.sequence) > ($1, $2)
order by e.epoch, e.sequence limit 500`

/** As far as a ledger was known when something of it was accepted: what shows it may have been retired since. */
const knownThenSql = `
select greatest(
  (select sequence from tidegate.events where gateway = $1 and epoch = $2 and stored_time <= $3::timestamptz order by sequence desc limit 1),
  (select max(to_sequence) from tidegate.ledger_notes where epoch = $2 and noted_at <= $3::timestamptz),
  (select max(last_sequence) from tidegate.epoch_closures where epoch = $2 and noted_at <= $3::timestamptz),
  (select max(g.to_sequence) from tidegate.retired as g join tidegate.retirements as r using (retirement)
   where g.gateway = $1 and g.epoch = $2 and r.retired_at <= $3::timestamptz),
  (select reached from tidegate.accepted_through where event_epoch = $4 and event_sequence = $5))::float8 as reached`

/**
 * Of all ledgers, each in order. What was not known to be missing when it was accepted is not: whoever can write the table excuses no
 * loss that is still to come. They are events of the cloud's own ledger, which is audited like any other: an acceptance that was made
 * up or altered shows there.
 */
export async function readAcceptances(query: Query): Promise<Map<string, Acceptance[]>> {
  const found = new Map<string, Acceptance[]>()
  for (let after: [string, number] = ['', 0]; ;) {
    const rows = await query<Row>(acceptancesSql, after)
    for (const row of rows) {
      const text = textSchema.safeParse(JSON.parse(row.body)).data
      if (text?.epoch !== row.epoch || text.sequence !== row.sequence) continue
      const { data } = text
      const key = ledgerKey(data)
      const [known] = await query<{ reached: number | null }>(knownThenSql, [
        data.gateway,
        data.epoch,
        row.storedAt,
        row.epoch,
        row.sequence,
      ])
      const reached = known?.reached ?? 0
      const then = data.ranges.filter(({ from }) => from <= reached)
      const those = then.map(({ from, to }) => ({
        from,
        to: Math.min(to, reached),
        by: data.actor,
        at: text.time,
        reason: data.reason,
      }))
      found.set(key, [...(found.get(key) ?? []), ...those])
    }
    const last = rows.at(-1)
    if (!last || rows.length < 500) break
    after = [last.epoch, last.sequence]
  }
  for (const those of found.values()) those.sort((a, b) => a.from - b.from)
  return found
}

export function ledgerKey({ gateway, epoch }: { gateway: string; epoch: string }): string {
  return `${gateway}/${epoch}`
}

export interface Part {
  from: number
  to: number
  acceptance: Acceptance | undefined
}

/** Parts a hole by who has accepted it. `acceptances` are in the order of their beginning. */
export function partedBy(acceptances: readonly Acceptance[], from: number, to: number): Part[] {
  const parts: Part[] = []
  let at = from
  for (const acceptance of acceptances) {
    if (acceptance.to < at || acceptance.from > to) continue
    if (acceptance.from > at) parts.push({ from: at, to: acceptance.from - 1, acceptance: undefined })
    const begin = Math.max(at, acceptance.from)
    const end = Math.min(to, acceptance.to)
    parts.push({ from: begin, to: end, acceptance })
    at = end + 1
    if (at > to) return parts
  }
  if (at <= to) parts.push({ from: at, to, acceptance: undefined })
  return parts
}
