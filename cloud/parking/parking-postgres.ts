import type { Headers, MessageProperties } from '../amqp/delivery.ts'
import type { Statements } from '../database/statements.ts'
import type { Claims, Diversion, Kept, Operation, Parking, ParkedEvent, Released } from './parking.ts'

/*
 * Locks of a device's row: who adds to what waits has it `for key share`, who works on it `for no key update`, and who lets it go `for
 * update`. The first two do not wait for each other: a handler that hangs in a runner holds up no lane (G6).
 */
const parkedSql = `
select device from tidegate.parked_devices
where consumer_group = $1 and device = any($2::text[]) for key share`

const parkSql = `
insert into tidegate.parked_devices (consumer_group, device, state, attempt, next_at, code, message)
values ($1, $2, $3, $4, clock_timestamp() + $5 * interval '1 ms', $6, $7)
on conflict do nothing returning true`

// Numbers are given in the order of the rows.
const addSql = `
insert into tidegate.parked_events
  (consumer_group, device, key, body, properties, headers, routing_key, queue, publisher, arrived_at)
select $1, device, key, body, properties, headers, routing_key, queue, publisher, to_timestamp(arrived_ms / 1000)
from unnest($2::text[], $3::bytea[], $4::bytea[], $5::json[], $6::json[], $7::text[], $8::text[], $9::text[], $10::float8[])
  with ordinality as given (device, key, body, properties, headers, routing_key, queue, publisher, arrived_ms, place)
order by place
on conflict do nothing returning true`

const claimSql = `
update tidegate.parked_devices
set claim = $2, claimed_until = clock_timestamp() + $3 * interval '1 ms'
where (consumer_group, device) = (
  select consumer_group, device from tidegate.parked_devices
  where consumer_group = $1 and state = 'retrying' and next_at <= clock_timestamp()
    and (claimed_until is null or claimed_until <= clock_timestamp())
  order by next_at limit 1 for no key update skip locked)
returning device`

const keepSql = `
update tidegate.parked_devices set claimed_until = clock_timestamp() + $4 * interval '1 ms'
where consumer_group = $1 and device = $2 and claim = $3
returning skip::text, coalesce(code, ''), coalesce(message, '')`

const headSql = `
select n::text, key, body, properties, headers, routing_key, queue, publisher, extract(epoch from arrived_at)::float8 * 1000
from tidegate.parked_events where consumer_group = $1 and device = $2 order by n limit 1`

const removeSql = `
delete from tidegate.parked_events where consumer_group = $1 and device = $2 and n = $3::bigint returning true`

const setBackDeviceSql = `
update tidegate.parked_devices
set state = $3, attempt = $4, next_at = clock_timestamp() + $5 * interval '1 ms', code = $6, message = $7,
  skip = null, claim = null, claimed_until = null
where consumer_group = $1 and device = $2`

const setBackEventSql = `
update tidegate.parked_events set headers = $4 where consumer_group = $1 and device = $2 and n = $3::bigint`

const giveUpSql = `
update tidegate.parked_devices set claim = null, claimed_until = null
where consumer_group = $1 and device = $2 and claim = $3`

const lockSql = `
select true from tidegate.parked_devices where consumer_group = $1 and device = $2 and claim = $3 for update`

const unparkSql = `delete from tidegate.parked_devices where consumer_group = $1 and device = $2`

const releaseSql = `
with there as (
  select device from tidegate.parked_devices
  where consumer_group = $1 and device = $2 for no key update skip locked)
update tidegate.parked_devices as d
set state = 'retrying', next_at = clock_timestamp(), skip = coalesce($3::bigint, skip)
from there where d.consumer_group = $1 and d.device = there.device returning true`

const isParkedSql = `select true from tidegate.parked_devices where consumer_group = $1 and device = $2`

const occupancySql = `
select count(*) filter (where state = 'retrying')::float8, count(*) filter (where state = 'held')::float8,
  (select count(*) from tidegate.parked_events where consumer_group = $1)::float8,
  coalesce(extract(epoch from clock_timestamp() - min(since)), 0)::float8 * 1000
from tidegate.parked_devices where consumer_group = $1`

type HeadRow = [string, Buffer, Buffer, MessageProperties, Headers, string, string, string | null, number]

/** Times are the database's: instances need not agree on them. */
export function postgresParking(statements: Statements): Parking {
  const run: Run = (name, text, values) => statements.run(`parking-${name}`, text, values)
  return { ...diversionBy(run), ...claimsBy(run), ...operationBy(run) }
}

type Run = <Row extends unknown[]>(name: string, text: string, values: readonly unknown[]) => Promise<Row[]>

function diversionBy(run: Run): Diversion {
  return {
    async parked(group, devices) {
      const rows = await run<[string]>('parked', parkedSql, [group, devices])
      return new Set(rows.map(([device]) => device))
    },
    async park(group, device, { state, attempt, delayMs, code, message }) {
      for (;;) {
        const values = [group, device, state, attempt, delayMs, plain(code), plain(message)]
        if ((await run('park', parkSql, values)).length > 0) return true
        // Whoever lets it go meanwhile has seen nothing wait: it is parked anew.
        if ((await this.parked(group, [device])).has(device)) return false
      }
    },
    async add(group, events) {
      return (await run('add', addSql, [group, ...columnsOf(events)])).length
    },
  }
}

function claimsBy(run: Run): Claims {
  return {
    async claim(group, token, leaseMs) {
      return (await run<[string]>('claim', claimSql, [group, token, leaseMs]))[0]?.[0]
    },
    async keep(group, device, token, leaseMs) {
      const [row] = await run<[string | null, string, string]>('keep', keepSql, [
        group,
        device,
        token,
        leaseMs,
      ])
      return row && ({ skip: row[0] ?? undefined, code: row[1], message: row[2] } satisfies Kept)
    },
    async head(group, device) {
      const [row] = await run<HeadRow>('head', headSql, [group, device])
      if (row === undefined) return undefined
      const [n, key, body, properties, headers, routingKey, queue, publisher, arrivedAtMs] = row
      return {
        n,
        device,
        key,
        body,
        properties,
        headers,
        routingKey,
        queue,
        publisher: publisher ?? undefined,
        arrivedAtMs,
      }
    },
    async remove(group, device, n) {
      return (await run('remove', removeSql, [group, device, n])).length > 0
    },
    async setBack(group, device, n, { state, attempt, delayMs, code, message }, headers) {
      const values = [group, device, state, attempt, delayMs, plain(code), plain(message)]
      await run('set-back-device', setBackDeviceSql, values)
      await run('set-back-event', setBackEventSql, [group, device, n, JSON.stringify(headers)])
    },
    async giveUp(group, device, token) {
      await run('give-up', giveUpSql, [group, device, token])
    },
    async lock(group, device, token) {
      return (await run('lock', lockSql, [group, device, token])).length > 0
    },
    async unpark(group, device) {
      await run('unpark', unparkSql, [group, device])
    },
  }
}

function operationBy(run: Run): Operation {
  async function released(group: string, device: string, skip: string | null): Promise<Released> {
    if ((await run('release', releaseSql, [group, device, skip])).length > 0) return 'due'
    return (await run('is-parked', isParkedSql, [group, device])).length > 0 ? 'working' : 'absent'
  }

  return {
    release: (group, device) => released(group, device, null),
    skip: (group, device, n) => released(group, device, n),
    async occupancy(group) {
      const [row] = await run<[number, number, number, number]>('occupancy', occupancySql, [group])
      const [retrying, held, events, oldestMs] = row ?? [0, 0, 0, 0]
      return { retrying, held, events, oldestMs: Math.max(0, oldestMs) }
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
