import { randomUUID } from 'node:crypto'
import type { Client } from '../../cloud/tool/client.ts'
import { systemClock } from '../../src/clock.ts'
import { partitionOf, routingKey } from '../../src/contract/wire.ts'
import { Ledger } from '../support/cloud/cloud-events.ts'

/** What a course asks the database. */
export type Query = (sql: string, values?: unknown[]) => Promise<unknown[]>

/** What a cloud of a course runs: one row for each time that an event has its effect. */
export const effectsModule = `
export default {
  group: 'effects',
  types: ['#'],
  async handleBatch(parcels, { tx }) {
    await tx.query('insert into public.effects (id) select * from unnest($1::text[])', [parcels.map(({ event }) => event.id)])
  },
}`

export const effectsTable = `
create table public.effects (n bigint generated always as identity, id text);
grant select, insert on public.effects to public`

const groupSql = `
insert into tidegate.failure_groups (fingerprint, consumer_group, code, type, message, frame, first_seen, last_seen)
values ('00000000000c0de5', 'effects', 'SITE_UNKNOWN', 'com.acme.climate', 'site unknown', null, now(), now())`

const lettersSql = `
insert into tidegate.dead_letters (consumer_group, key, source, id, type, device, gateway, epoch, sequence, body, properties, headers,
  routing_key, queue, fingerprint, code, message, attempts, failures, instance, first_failed_at, last_failed_at)
select 'effects', sha256(convert_to('event' || chr(10) || source || chr(10) || id, 'UTF8')), source, id, 'com.acme.climate', device,
  'gateway-1', $7, sequence, convert_to(body, 'UTF8'), '{}', '{}', routing_key, 'effects.00.v2', '00000000000c0de5', 'SITE_UNKNOWN',
  'site unknown', 1, '[]', 'cloud-1', now(), now()
from unnest($1::text[], $2::text[], $3::text[], $4::bigint[], $5::text[], $6::text[]) as s (source, id, device, sequence, body, routing_key)`

/** So many letters of a group, of events of many devices, as if each had failed for good. */
export async function writeLetters(query: Query, count: number, partitions: number): Promise<void> {
  const ledger = new Ledger()
  await query(groupSql)
  for (let written = 0; written < count;) {
    const page = Array.from({ length: Math.min(5_000, count - written) }, () =>
      ledger.next(`device-${ledger.sequence % 500}`),
    )
    const column = <T>(of: (one: (typeof page)[number]) => T): T[] => page.map(of)
    await query(lettersSql, [
      column(({ event }) => event.source),
      column(({ event }) => event.id),
      column(({ event }) => event.partitionkey),
      column(({ event }) => event.sequence),
      column(({ text }) => text),
      column(({ event }) => routingKey(partitionOf(event.partitionkey, partitions), event.type)),
      ledger.epoch,
    ])
    written += page.length
  }
  await query('analyze tidegate.dead_letters')
}

/** How far a replay is, as the API says it. */
export interface Progress {
  replay: number
  state: string
  total: number
  sent: number
  resolved: number
  failed: number
}

/** Asks for a replay of all open letters of the group. */
export async function replayAll(client: Client, ratePerSecond?: number): Promise<number> {
  const asked = { filter: { group: 'effects' }, reason: 'sites were added', ratePerSecond }
  return (await client.post<{ replay: number }>('/v1/replays', asked, { key: randomUUID() })).body.replay
}

export async function stop(client: Client, replay: number): Promise<void> {
  await client.post(`/v1/replays/${replay}/stop`, { reason: 'enough for now' }, { key: randomUUID() })
}

/** Until it is over, or `enough` says so; each look is told of. */
export async function watch(
  client: Client,
  replay: number,
  { everyMs, onLook = () => false }: { everyMs: number; onLook?: (progress: Progress) => boolean },
): Promise<Progress> {
  for (;;) {
    const { body } = await client.get<Progress>(`/v1/replays/${replay}`)
    if (onLook(body) || !/^(running|stopping)$/.test(body.state)) return body
    await systemClock.sleep(everyMs)
  }
}

/** What is not as it must be once all replays are over: nothing, if all is well. */
export async function faultsOf(query: Query, replays: readonly Progress[], count: number): Promise<string[]> {
  const [row] = (await query(
    `select (select count(*)::int from public.effects) as effects, (select count(distinct id)::int from public.effects) as events,
       (select count(*)::int from tidegate.dead_letters where state = 'resolved' and replays = 0) as resolved,
       (select json_object_agg(replay, returned) from tidegate.replays) as returned,
       (select json_object_agg(replay, letters) from (select replay, count(*) as letters from tidegate.dead_letters
        where replay is not null group by replay) as g) as "inReplay"`,
  )) as {
    effects: number
    events: number
    resolved: number
    returned: Record<string, number>
    inReplay: Record<string, number>
  }[]
  if (!row) throw new Error('the database has no answer')
  const faults: string[] = []
  if (row.effects !== count || row.events !== count)
    faults.push(`${row.effects} effects of ${row.events} events, there are ${count} letters`)
  if (row.resolved !== count) faults.push(`${row.resolved} letters are resolved of ${count}`)
  for (const { replay, sent, resolved, failed } of replays) {
    const settled = resolved + failed + (row.returned[replay] ?? 0)
    if (sent !== settled) faults.push(`replay ${replay} has sent ${sent}, of which ${settled} are settled`)
    if ((row.inReplay[replay] ?? 0) !== sent)
      faults.push(`replay ${replay} has sent ${sent}, and ${row.inReplay[replay] ?? 0} letters say so`)
  }
  const sent = replays.reduce((sum, one) => sum + one.sent, 0)
  if (sent !== count) faults.push(`${sent} letters were sent by all replays together, there are ${count}`)
  return faults
}

/** Of a text file of /proc: resident, MiB. */
export function residentMiB(status: string): number {
  return Number(/^VmRSS:\s+(\d+) kB/m.exec(status)?.[1]) / 1024
}
