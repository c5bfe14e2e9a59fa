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
select e.epoch, e.sequence::float8 as sequence, e.body::text as body from tidegate.events as e
where e.gateway = '${cloudLedger}' and e.type = '${acceptanceType}' and (e.epoch, e.sequence) > ($1, $2)
order by e.epoch, e.sequence limit 500`

/**
 * Of all ledgers, each in order. They are events of the cloud's own ledger, which is audited like any other: an acceptance that was made
 * up or altered shows there.
 */
export async function readAcceptances(query: Query): Promise<Map<string, Acceptance[]>> {
  const found = new Map<string, Acceptance[]>()
  for (let after: [string, number] = ['', 0]; ;) {
    const rows = await query<{ epoch: string; sequence: number; body: string }>(acceptancesSql, after)
    for (const row of rows) {
      const text = textSchema.safeParse(JSON.parse(row.body)).data
      if (text?.epoch !== row.epoch || text.sequence !== row.sequence) continue
      const { data } = text
      const key = ledgerKey(data)
      const those = data.ranges.map((range) => ({
        ...range,
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
