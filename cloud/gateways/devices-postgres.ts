import { TidegateError } from '../../src/errors.ts'
import { DevicePatterns, namesOf, patternsMax } from './devices.ts'
import type { Query } from './query.ts'
import type { FormerName, RegisteredGateway } from './registry.ts'

/** What was read of each gateway’s devices, and of which version it is. */
export type DevicesRead = ReadonlyMap<string, { version: string; patterns: DevicePatterns }>

const pageRows = 10_000
/** So that no statement takes longer than one may. */
const addedAtOnce = 50_000

// Of one gateway: with several in one condition each page would begin to read at the first.
const pageSql = `
select pattern from tidegate.gateway_devices where gateway = $1 and pattern > $2 order by pattern limit ${pageRows}`

/**
 * Of which devices the gateways may speak. Of a gateway whose version is still the one of `before` nothing is read. The versions must
 * have been read before: what changes meanwhile is then of an older version than it is taken for here, and is read again.
 * @throws what the query throws
 */
export async function readDevices(
  query: Query,
  gateways: readonly Pick<RegisteredGateway, 'name' | 'devicesVersion'>[],
  before: DevicesRead = new Map(),
): Promise<DevicesRead> {
  const read = new Map<string, { version: string; patterns: DevicePatterns }>()
  for (const { name, devicesVersion } of gateways) {
    if (devicesVersion === null) continue
    const known = before.get(name)
    if (known?.version === devicesVersion) read.set(name, known)
    else read.set(name, { version: devicesVersion, patterns: await readPatterns(query, name) })
  }
  return read
}

async function readPatterns(query: Query, gateway: string): Promise<DevicePatterns> {
  const patterns = new DevicePatterns()
  for (let last: string | undefined = ''; last !== undefined;) {
    const rows: { pattern: string }[] = await query<{ pattern: string }>(pageSql, [gateway, last])
    for (const { pattern } of rows) patterns.add(pattern)
    last = rows.length < pageRows ? undefined : rows.at(-1)?.pattern
  }
  return patterns
}

const addSql = `
with added as (
  insert into tidegate.gateway_devices (gateway, pattern)
  select $1, pattern from unnest($2::text[]) as pattern
  where not exists (select from tidegate.gateway_devices as d where d.gateway = any($3) and d.pattern = pattern.pattern)
  on conflict do nothing returning 1)
select count(*)::float8 as count from added`

/**
 * The gateway, which is registered, may speak of these too.
 * @returns how many of the patterns it did not have, under any of its names
 * @throws TidegateError `GATEWAY_DEVICES` when there are too many now: for a transaction, which is then rolled back
 */
export async function addDevices(
  query: Query,
  gateway: string,
  patterns: readonly string[],
  names: readonly FormerName[] = [],
): Promise<number> {
  let count = 0
  for (let from = 0; from < patterns.length; from += addedAtOnce) {
    const some = patterns.slice(from, from + addedAtOnce)
    const [added] = await query<Counted>(addSql, [gateway, some, namesOf(gateway, names)])
    count += added?.count ?? 0
  }
  await refuseTooMany(query)
  return count
}

async function refuseTooMany(query: Query): Promise<void> {
  const [all] = await query<Counted>('select count(*)::float8 as count from tidegate.gateway_devices')
  if ((all?.count ?? 0) > patternsMax)
    throw refused(
      `with these ${all?.count} patterns of devices would be registered, and ${patternsMax} is the most`,
      'the beginning of IDs and a * stands for any number of devices: line-3-*',
    )
}

interface Counted {
  count: number
}

/**
 * The gateway may not speak of these any more, unless another of its patterns covers them. It keeps one pattern: without any it could
 * speak of every device.
 * @throws TidegateError `GATEWAY_DEVICES`; then nothing was removed
 */
export async function removeDevices(
  query: Query,
  gateway: string,
  patterns: readonly string[],
  names: readonly FormerName[] = [],
): Promise<void> {
  const all = namesOf(gateway, names)
  const wanted = [...new Set(patterns)]
  const [counts] = await query<{ present: string[]; total: number }>(
    `select coalesce(array_agg(distinct pattern) filter (where pattern = any($2)), '{}') as present,
            count(distinct pattern)::float8 as total
     from tidegate.gateway_devices where gateway = any($1)`,
    [all, wanted],
  )
  const { present = [], total = 0 } = counts ?? {}
  const known = new Set(present)
  const stray = wanted.find((pattern) => !known.has(pattern))
  if (stray !== undefined)
    throw refused(
      `${stray} is not registered for ${gateway}: nothing is removed`,
      'tidegate gateways list shows its patterns, each of which is removed as it stands there',
    )
  if (total === present.length)
    throw refused(
      `${gateway} would be without any pattern, and could speak of every device: nothing is removed`,
      `add what it may speak of first, '*' if that is any device; tidegate gateways suspend ${gateway} if nothing of it is to be believed`,
    )
  await query('delete from tidegate.gateway_devices where gateway = any($1) and pattern = any($2)', [
    all,
    wanted,
  ])
}

/**
 * Both names, when they part, keep what they could speak of as one: neither becomes free to speak of all.
 * @throws TidegateError `GATEWAY_DEVICES` when there are too many now: for a transaction, which is then rolled back
 */
export async function keepDevices(
  query: Query,
  parting: readonly string[],
  names: readonly FormerName[],
): Promise<void> {
  for (const name of parting)
    await query(
      `insert into tidegate.gateway_devices (gateway, pattern)
       select distinct $1, pattern from tidegate.gateway_devices where gateway = any($2) on conflict do nothing`,
      [name, namesOf(name, names)],
    )
  await refuseTooMany(query)
}

function refused(message: string, hint: string): TidegateError {
  return new TidegateError('GATEWAY_DEVICES', { message, retryable: false, hint })
}
