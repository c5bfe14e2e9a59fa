import { TidegateError } from '../../src/errors.ts'
import { keepDevices } from './devices-postgres.ts'
import type { Query } from './query.ts'
import type { FormerName, GatewayKey, GatewayState, RegisteredGateway, Registry } from './registry.ts'
import { registryOf } from './registry.ts'

const gatewaysSql = `
select name, state, extract(epoch from since)::float8 * 1000 as "sinceMs", devices_version as "devicesVersion"
from tidegate.gateways order by name`

const keysSql = `
select gateway, fingerprint, public_key as "publicKey", extract(epoch from since)::float8 * 1000 as "sinceMs",
       extract(epoch from until)::float8 * 1000 as "untilMs"
from tidegate.gateway_keys order by gateway, since, fingerprint`

const namesSql = `select former, gateway from tidegate.gateway_names order by former`

/** All that is registered but the devices, which are many. @throws what the query throws */
export async function readRegistry(query: Query): Promise<Registry> {
  const gateways = await query<RegisteredGateway>(gatewaysSql)
  const keys = await query<GatewayKey>(keysSql)
  const names = await query<FormerName>(namesSql)
  return registryOf({ gateways, keys, names })
}

/** What is registered of a key, of which the database knows the rest. */
export type NewKey = Pick<GatewayKey, 'fingerprint' | 'publicKey'>

const addSql = `
with added as (insert into tidegate.gateways (name) values ($1) on conflict do nothing returning name),
     keyed as (
       insert into tidegate.gateway_keys (gateway, fingerprint, public_key)
       select name, $2, $3 from added where $2::text is not null)
select name from added`

/** @throws TidegateError `GATEWAY_TAKEN` */
export async function addGateway(query: Query, name: string, key: NewKey | undefined): Promise<void> {
  const added = await query(addSql, [name, key?.fingerprint ?? null, key?.publicKey ?? null])
  if (added.length === 0) throw taken(name, `tidegate gateways key add ${name} registers another key of it`)
}

/** Adding a key that was retired takes it into use again. @throws TidegateError `GATEWAY_UNKNOWN` */
export async function addKey(query: Query, gateway: string, key: NewKey): Promise<void> {
  await requireKnown(query, gateway)
  await query(
    `insert into tidegate.gateway_keys (gateway, fingerprint, public_key) values ($1, $2, $3)
     on conflict (gateway, fingerprint) do update set until = null`,
    [gateway, key.fingerprint, key.publicKey],
  )
}

/**
 * From now on no signature is believed that is dated later. `prefix`: as much of the fingerprint as names one key.
 * @throws TidegateError `GATEWAY_UNKNOWN` | `GATEWAY_KEY`
 */
export async function retireKey(query: Query, gateway: string, prefix: string): Promise<string> {
  const registry = await requireKnown(query, gateway)
  const meant = registry
    .keysOf(gateway)
    .filter(({ fingerprint, untilMs }) => fingerprint.startsWith(prefix.toLowerCase()) && untilMs === null)
  const [key] = meant
  if (key === undefined || meant.length > 1) {
    throw new TidegateError('GATEWAY_KEY', {
      message: `${gateway} has ${meant.length === 0 ? 'no key' : 'more than one key'} in use whose fingerprint begins with ${prefix}`,
      retryable: false,
      hint: 'tidegate gateways list shows the keys',
    })
  }
  await query(
    'update tidegate.gateway_keys set until = clock_timestamp() where gateway = $1 and fingerprint = $2',
    [gateway, key.fingerprint],
  )
  return key.fingerprint
}

/** @throws TidegateError `GATEWAY_UNKNOWN` */
export async function setState(query: Query, gateway: string, state: GatewayState): Promise<void> {
  await requireKnown(query, gateway)
  await query(
    'update tidegate.gateways set state = $2, since = clock_timestamp() where name = $1 and state <> $2',
    [gateway, state],
  )
}

const renameSql = `
with named as (insert into tidegate.gateways (name) values ($2) on conflict do nothing),
     known as (insert into tidegate.gateways (name) values ($1) on conflict do nothing),
     keyed as (
       insert into tidegate.gateway_keys (gateway, fingerprint, public_key)
       select $2, fingerprint, public_key from tidegate.gateway_keys where gateway = $1 and until is null
       on conflict do nothing)
insert into tidegate.gateway_names (former, gateway) values ($1, $2)`

/**
 * The gateway that was called `former` is called `name`: it may speak of its old ledgers, and its keys are those of the new name too.
 * Both are registered, if they are not yet. It may get a former name back, and not that of one with keys of its own.
 * @throws TidegateError `GATEWAY_TAKEN`
 */
export async function renameGateway(query: Query, former: string, name: string): Promise<void> {
  const registry = await readRegistry(query)
  const other = registry.names.find((known) => known.former === former)
  if (other !== undefined) throw taken(former, `it is the former name of ${other.gateway} already`)
  if (former === name) throw taken(name, `it is ${former}`)
  const own = registry.keysOf(former).map(({ fingerprint }) => fingerprint)
  const another = registry.keysOf(name).find(({ fingerprint }) => !own.includes(fingerprint))
  if (another !== undefined)
    throw taken(
      name,
      `it has a key that ${former} has not: if both are one gateway, add ${another.fingerprint} to ${former} first`,
    )
  await query(renameSql, [former, name])
}

/**
 * As if it had not been renamed; the keys that it got under the new name stay, and each name keeps the devices of both.
 * @throws TidegateError `GATEWAY_UNKNOWN`
 */
export async function unnameGateway(query: Query, former: string, name: string): Promise<void> {
  const { names } = await readRegistry(query)
  if (names.some((known) => known.former === former && known.gateway === name))
    await keepDevices(query, [former, name], names)
  const gone = await query(
    'delete from tidegate.gateway_names where former = $1 and gateway = $2 returning former',
    [former, name],
  )
  if (gone.length > 0) return
  throw new TidegateError('GATEWAY_UNKNOWN', {
    message: `${former} is not registered as a former name of ${name}`,
    retryable: false,
    hint: 'tidegate gateways list shows the former names',
  })
}

/** What is registered, a gateway of that name among it. @throws TidegateError `GATEWAY_UNKNOWN` */
export async function requireKnown(query: Query, gateway: string): Promise<Registry> {
  const registry = await readRegistry(query)
  if (registry.stateOf(gateway) !== undefined) return registry
  throw new TidegateError('GATEWAY_UNKNOWN', {
    message: `no gateway is registered as ${gateway}`,
    retryable: false,
    hint: `tidegate gateways list shows those that are; tidegate gateways add ${gateway} registers it`,
  })
}

function taken(name: string, hint: string): TidegateError {
  return new TidegateError('GATEWAY_TAKEN', {
    message: `a gateway is registered as ${name} already`,
    retryable: false,
    hint,
  })
}
