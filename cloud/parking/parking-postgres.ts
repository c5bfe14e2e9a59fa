import type { Headers, MessageProperties } from '../amqp/delivery.ts'
import type { Statements } from '../database/statements.ts'
import { awaitedCodes } from '../letters/story.ts'
import {
  type Claimed,
  type Claims,
  type Diversion,
  type Operation,
  type Parking,
  type ParkedEvent,
  type ParkedHead,
  type Released,
  type Which,
  transactionBytesMax,
} from './parking.ts'

const awaitedSql = awaitedCodes.map((code) => `'${code}'`).join(', ')

/*
 * Locks of a device's row: who adds to what waits has it `for key share`, who works on it `for no key update`, and who lets it go `for
 * update`. The first two do not wait for each other: a handler that hangs in a runner holds up no lane (G6).
 */
const parkedSql = `
select d.device, c.events, c.overflowed, d.state = 'retrying' and d.code is not null, d.code is null or d.code in (${awaitedSql})
from tidegate.parked_devices as d cross join lateral (
  select coalesce(sum(events), 0)::float8 as events, coalesce(bool_or(overflowed), false) as overflowed
  from tidegate.parked_counts as c where c.consumer_group = d.consumer_group and c.device = d.device
) as c
where d.consumer_group = $1 and d.device = any($2::text[]) for key share of d`

const parkSql = `
insert into tidegate.parked_devices (consumer_group, device, state, attempt, next_at, code, message, hung)
values ($1, $2, $3, $4, clock_timestamp() + $5 * interval '1 ms', $6, $7, $6 = 'HANDLER_TIMEOUT')
on conflict do nothing returning true`

// Numbers are given in the order of the rows.
const addSql = `
insert into tidegate.parked_events
  (consumer_group, device, key, body, properties, headers, routing_key, queue, publisher, arrived_at)
select $1, device, key, body, properties, headers, routing_key, queue, publisher, to_timestamp(arrived_ms / 1000)
from unnest($2::text[], $3::bytea[], $4::bytea[], $5::json[], $6::json[], $7::text[], $8::text[], $9::text[], $10::float8[])
  with ordinality as given (device, key, body, properties, headers, routing_key, queue, publisher, arrived_ms, place)
order by place
on conflict do nothing returning device`

// What others have in hand stays a row of its own: nobody waits for it.
const countSql = `
with given as (select *, $4::boolean as overflowed from unnest($2::text[], $3::integer[]) as given (device, events)),
folded as (
  delete from tidegate.parked_counts where ctid = any(array(
    select ctid from tidegate.parked_counts where consumer_group = $1 and device = any($2::text[]) for update skip locked))
  returning device, events, overflowed)
insert into tidegate.parked_counts (consumer_group, device, events, overflowed)
select $1, device, sum(events), bool_or(overflowed) from (table folded union all table given) as sums group by device`

// The condition of 'first' is that of the index parked_devices_first.
const claimSql = (among: string): string => `
update tidegate.parked_devices
set claim = $2, claimed_until = clock_timestamp() + $3 * interval '1 ms'
where (consumer_group, device) = (
  select consumer_group, device from tidegate.parked_devices
  where consumer_group = $1 and state = 'retrying' and next_at <= clock_timestamp()
    and (claimed_until is null or claimed_until <= clock_timestamp()) ${among}
  order by next_at limit 1 for no key update skip locked)
returning device, recovering, hung, deeds, skip::text, coalesce(code, ''), coalesce(message, '')`

const claimSqls = {
  all: claimSql(''),
  first: claimSql('and attempt <= 2 and not hung'),
  skipped: claimSql('and skip is not null'),
} as const

const keepSql = `
update tidegate.parked_devices set claimed_until = clock_timestamp() + $4 * interval '1 ms'
where consumer_group = $1 and device = $2 and claim = $3
returning deeds`

const headsSql = `
select n::text, key, body, properties, headers, routing_key, queue, publisher, extract(epoch from arrived_at)::float8 * 1000
from (
  select *, sum(octet_length(body)) over (order by n) - octet_length(body) as bytes_before
  from (select * from tidegate.parked_events where consumer_group = $1 and device = $2 order by n limit $3) as first_ones
) as e where bytes_before < ${transactionBytesMax} order by e.n`

const removeSql = `
delete from tidegate.parked_events where consumer_group = $1 and device = $2 and n = any($3::bigint[]) returning true`

// What is skipped stays so until something waits that is not, or the device is let go: a paused group looks at no other.
const moveOnSql = `
update tidegate.parked_devices as d set attempt = 1, recovering = $4, hung = hung or $3, code = null, message = null,
  skip = case when coalesce((
    select min(e.n) from tidegate.parked_events as e
    where e.consumer_group = d.consumer_group and e.device = d.device), 0) <= d.skip then skip end
where consumer_group = $1 and device = $2`

const setBackDeviceSql = `
update tidegate.parked_devices
set state = $3, attempt = $4, code = $6, message = $7, hung = hung or $6 = 'HANDLER_TIMEOUT',
  next_at = clock_timestamp() + $5 * interval '1 ms', claim = null, claimed_until = null
where consumer_group = $1 and device = $2`

const setBackEventSql = `
update tidegate.parked_events set headers = $4 where consumer_group = $1 and device = $2 and n = $3::bigint`

const giveUpSql = `
update tidegate.parked_devices set claim = null, claimed_until = null, hung = hung or $5,
  next_at = clock_timestamp() + $4 * interval '1 ms'
where consumer_group = $1 and device = $2 and claim = $3`

const lockSql = `
select true from tidegate.parked_devices where consumer_group = $1 and device = $2 and claim = $3 for update skip locked`

const unparkSql = `
with counts as (delete from tidegate.parked_counts where consumer_group = $1 and device = $2)
delete from tidegate.parked_devices where consumer_group = $1 and device = $2`

// Asked: those that were meant. A runner that has one in hand is not waited for.
const changeSql = (set: string, more: string): string => `
with asked as (
  select device from tidegate.parked_devices
  where consumer_group = $1 and ($2::text is null or device = $2) and ($3::text is null or code = $3) and (not $4 or state = 'retrying') ${more}
), free as (
  select device from tidegate.parked_devices
  where consumer_group = $1 and device in (select device from asked) for no key update skip locked
), changed as (
  update tidegate.parked_devices as d set state = 'retrying', next_at = clock_timestamp(), deeds = deeds + 1 ${set}
  from free where d.consumer_group = $1 and d.device = free.device returning true
)
select (select count(*) from changed)::float8, (select count(*) from asked)::float8`

const upTo = (which: string): string => `, skip = (
  select ${which}(n) from tidegate.parked_events as e where e.consumer_group = d.consumer_group and e.device = d.device)`

const changes = {
  release: changeSql('', ''),
  'skip-first': changeSql(upTo('min'), 'and attempt > 1'),
  'skip-all': changeSql(upTo('max'), ''),
} as const

const occupancySql = `
select count(*) filter (where state = 'retrying')::float8, count(*) filter (where state = 'held')::float8,
  count(*) filter (where state = 'retrying' and code in (${awaitedSql}))::float8,
  (select coalesce(sum(events), 0) from tidegate.parked_counts where consumer_group = $1)::float8,
  coalesce(extract(epoch from clock_timestamp() - min(since)), 0)::float8 * 1000
from tidegate.parked_devices where consumer_group = $1`

type HeadRow = [string, Buffer, Buffer, MessageProperties, Headers, string, string, string | null, number]

/** Times are the database's: instances need not agree on them. */
export function postgresParking(statements: Statements): Parking {
  const run: Run = (name, text, values) => statements.run(`parking-${name}`, text, values)
  return { ...diversionBy(run), ...claimsBy(run), ...operationBy(run) }
}

type Run = <Row extends unknown[]>(name: string, text: string, values: readonly unknown[]) => Promise<Row[]>

async function count(
  run: Run,
  group: string,
  events: ReadonlyMap<string, number>,
  overflowed = false,
): Promise<void> {
  if (events.size === 0) return
  await run('count', countSql, [group, [...events.keys()], [...events.values()], overflowed])
}

function diversionBy(run: Run): Diversion {
  return {
    async parked(group, devices) {
      const rows = await run<[string, number, boolean, boolean, boolean]>('parked', parkedSql, [
        group,
        devices,
      ])
      return new Map(
        rows.map(([device, events, overflowed, failing, waitsOnly]) => [
          device,
          { events, overflowed, failing, waitsOnly },
        ]),
      )
    },
    async park(group, device, { state, attempt, delayMs, code, message }) {
      for (;;) {
        const values = [group, device, state, attempt, delayMs, plain(code), plain(message)]
        if ((await run('park', parkSql, values)).length > 0) return
        // Whoever lets it go meanwhile has seen nothing wait: it is parked anew.
        if ((await this.parked(group, [device])).size > 0) return
      }
    },
    async add(group, events) {
      const added = new Map<string, number>()
      for (const [device] of await run<[string]>('add', addSql, [group, ...columnsOf(events)]))
        added.set(device, (added.get(device) ?? 0) + 1)
      await count(run, group, added)
    },
    overflow: (group, devices) => count(run, group, new Map(devices.map((device) => [device, 0])), true),
  }
}

function claimsBy(run: Run): Claims {
  return {
    async claim(group, token, leaseMs, among) {
      type Row = [string, boolean, boolean, number, string | null, string, string]
      const [row] = await run<Row>(`claim-${among}`, claimSqls[among], [group, token, leaseMs])
      if (row === undefined) return undefined
      const [device, recovering, hung, deeds, skip, code, message] = row
      return { device, recovering, hung, deeds, skip: skip ?? undefined, code, message } satisfies Claimed
    },
    async keep(group, device, token, leaseMs) {
      const [row] = await run<[number]>('keep', keepSql, [group, device, token, leaseMs])
      return row?.[0]
    },
    async heads(group, device, countMax) {
      const rows = await run<HeadRow>('heads', headsSql, [group, device, countMax])
      return rows.map((row) => headOf(device, row))
    },
    async remove(group, device, places) {
      const removed = (await run('remove', removeSql, [group, device, places])).length
      if (removed > 0) await count(run, group, new Map([[device, -removed]]))
      return removed
    },
    async moveOn(group, device, { recovering, hung }) {
      await run('move-on', moveOnSql, [group, device, hung, recovering])
    },
    async setBack(group, device, n, { state, attempt, delayMs, code, message }, headers) {
      const values = [group, device, state, attempt, delayMs, plain(code), plain(message)]
      await run('set-back-device', setBackDeviceSql, values)
      await run('set-back-event', setBackEventSql, [group, device, n, JSON.stringify(headers)])
    },
    async giveUp(group, device, token, delayMs, hung = false) {
      await run('give-up', giveUpSql, [group, device, token, delayMs, hung])
    },
    async lock(group, device, token) {
      return (await run('lock', lockSql, [group, device, token])).length > 0
    },
    async unpark(group, device) {
      await run('unpark', unparkSql, [group, device])
    },
  }
}

function headOf(device: string, row: HeadRow): ParkedHead {
  const [n, key, body, properties, headers, routingKey, queue, publisher, arrivedAtMs] = row
  const told = { properties, headers, routingKey, queue, publisher: publisher ?? undefined }
  return { n, device, key, body, ...told, arrivedAtMs }
}

function operationBy(run: Run): Operation {
  async function change(
    what: keyof typeof changes,
    group: string,
    { device, code, retrying = false }: Which,
  ): Promise<Released> {
    const values = [group, device ?? null, code ?? null, retrying]
    const [row] = await run<[number, number]>(what, changes[what], values)
    const [devices, asked] = row ?? [0, 0]
    return { devices, working: Math.max(0, asked - devices) }
  }

  return {
    release: (group, which) => change('release', group, which),
    skip: (group, which, what) => change(`skip-${what}`, group, which),
    async occupancy(group) {
      const [row] = await run<[number, number, number, number, number]>('occupancy', occupancySql, [group])
      const [retrying, held, awaiting, events, oldestMs] = row ?? [0, 0, 0, 0, 0]
      return { retrying, held, awaiting, events, oldestMs: Math.max(0, oldestMs) }
    },
  }
}

function columnsOf(events: readonly ParkedEvent[]): unknown[][] {
  return [
    events.map(({ device }) => device),
    events.map(({ key }) => key),
    events.map(({ body }) => body),
    events.map(({ properties }) => JSON.stringify(properties)),
    events.map(({ headers }) => JSON.stringify(headers)),
    events.map(({ routingKey }) => plain(routingKey)),
    events.map(({ queue }) => queue),
    events.map(({ publisher }) => publisher && plain(publisher)),
    events.map(({ arrivedAtMs }) => arrivedAtMs),
  ]
}

/** PostgreSQL keeps no NUL in a text. */
function plain(text: string): string {
  return text.replaceAll('\0', '')
}
