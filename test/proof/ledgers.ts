import type { Client } from 'pg'
import { checkpointType } from '../../src/contract/checkpoint.ts'
import { type Encoded, Ledger } from '../support/cloud/cloud-events.ts'
import { testSigner } from '../support/fakes/signer.ts'

/** Signed ledgers, in weeks that are past. */
export interface ToFill {
  events: number
  gateways: number
  weeks: number
}

const signer = testSigner(1)
const signsEvery = 10_000
/** Of the first of them, ms since the Unix epoch. */
export const firstWeekMs = Date.parse('2026-01-05T00:00:00.000Z')
const weekMs = 7 * 86_400_000

const at = (week: number): string => new Date(firstWeekMs + week * weekMs).toISOString()

/** Weeks that are past are made for those who have waited for them; a proof has not. */
export async function divide(client: Client, weeks: number): Promise<void> {
  const { rows } = await client.query<{ until: string }>(
    `select until_time::text as until from tidegate.partitions where partition = 'events_before'`,
  )
  await client.query('alter table tidegate.events detach partition tidegate.events_before')
  await client.query(
    `alter table tidegate.events attach partition tidegate.events_before for values from (minvalue) to ('${at(0)}')`,
  )
  for (let week = 0; week < weeks; week += 1) {
    if (Date.parse(at(week + 1)) > Date.parse(rows[0]?.until ?? ''))
      throw new Error(`${weeks} weeks are not past yet`)
    const name = `events_${at(week).slice(0, 10).replaceAll('-', '')}`
    await client.query(`select tidegate.make_partition('${name}')`)
    await client.query(
      `alter table tidegate.events attach partition tidegate.${name} for values from ('${at(week)}') to ('${at(week + 1)}')`,
    )
  }
}

export async function fill(client: Client, { events, gateways, weeks }: ToFill): Promise<Ledger[]> {
  const ledgers: Ledger[] = []
  for (let at = 0; at < gateways; at += 1) {
    const epoch = `01JGFJJZ${String(at).padStart(18, '0')}`
    ledgers.push(new Ledger(`gateway-${at}`, epoch))
    await client.query('insert into tidegate.gateways (name) values ($1)', [`gateway-${at}`])
    const pem = signer.publicKey.export({ type: 'spki', format: 'pem' })
    await client.query(
      `insert into tidegate.gateway_keys (gateway, fingerprint, public_key, since) values ($1, $2, $3, '2026-01-01')`,
      [`gateway-${at}`, signer.key, pem],
    )
  }
  const each = Math.floor(events / gateways)
  const stepMs = Math.floor((weeks * weekMs) / (each + 1))
  const beganMs = performance.now()
  // Round by round, as if all recorded at once.
  for (let done = 0; done < each; done += 1000) {
    for (const ledger of ledgers)
      await store(client, await record(ledger, Math.min(1000, each - done), stepMs))
    if (done % 100_000 === 0) console.error(`${(done * gateways).toLocaleString('en')} events`)
  }
  console.log(
    `${events.toLocaleString('en')} events of ${gateways} gateways in ${weeks} weeks, stored in ${((performance.now() - beganMs) / 1000).toFixed(0)} s`,
  )
  return ledgers
}

export async function add(client: Client, ledgers: readonly Ledger[], count: number): Promise<void> {
  for (const ledger of ledgers) await store(client, await record(ledger, count / ledgers.length, 0))
}

/** The next events of a ledger, signed when it is time. */
async function record(ledger: Ledger, count: number, stepMs: number): Promise<Encoded[]> {
  const made: Encoded[] = []
  for (let at = 0; at < count; at += 1) {
    const time = new Date(firstWeekMs + ledger.sequence * stepMs).toISOString()
    const times = { time, recordedtime: time }
    const before = made.at(-1)?.event
    if (before !== undefined && (ledger.sequence % signsEvery === 1 || at === count - 1)) {
      const { epoch, sequence, chain } = before
      const head = { epoch, sequence, chain, time, everyEvents: signsEvery }
      const signature = await signer.sign(ledger.gateway, head)
      const data = { ...head, key: signer.key, algorithm: signer.algorithm, signature }
      made.push(
        ledger.next(ledger.gateway, {
          ...times,
          type: checkpointType,
          data,
          id: `${ledger.gateway}-${ledger.sequence}`,
        }),
      )
    } else
      made.push(
        ledger.next(`device-${ledger.sequence % 50}`, {
          ...times,
          id: `${ledger.gateway}-${ledger.sequence}`,
        }),
      )
  }
  return made
}

async function store(client: Client, events: readonly Encoded[]): Promise<void> {
  await client.query(
    `insert into tidegate.events (gateway, epoch, sequence, source, id, type, time, recorded_time, disposition, body)
     select gateway, epoch, sequence, source, id, type, time, recorded, 'accepted', body::json
     from unnest($1::text[], $2::text[], $3::bigint[], $4::text[], $5::text[], $6::text[], $7::timestamptz[], $8::timestamptz[], $9::text[])
       as e (gateway, epoch, sequence, source, id, type, time, recorded, body)`,
    [
      events.map(({ event }) => event.gateway),
      events.map(({ event }) => event.epoch),
      events.map(({ event }) => event.sequence),
      events.map(({ event }) => event.source),
      events.map(({ event }) => event.id),
      events.map(({ event }) => event.type),
      events.map(({ event }) => event.time),
      events.map(({ event }) => event.recordedtime),
      events.map(({ text: body }) => body),
    ],
  )
}
