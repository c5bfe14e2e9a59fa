import { deviceSource } from '../../src/contract/event.ts'
import { TidegateError } from '../../src/errors.ts'
import type { Transaction } from '../database/storage.ts'
import { schemaOf } from './schema-postgres.ts'
import type { VersionKey } from './versions.ts'

// Weeks go out of history, and what was counted of them stays: whoever counts again counts less.

const retiredSql = `
select exists (select from tidegate.retirements as r join tidegate.projection_versions as v on v.name = $1 and v.version = $2
  where v.state <> 'new' and r.retired_at > v.started_at) as fewer`

/**
 * Refuses to count again what a version, or the rows of one device in it, has counted of weeks that history has no more.
 * @throws TidegateError `PROJECTION_HISTORY_SHORTER`
 */
export async function refuseShorter(tx: Transaction, key: VersionKey, device?: string): Promise<void> {
  const { rows } = await tx.query<{ fewer: boolean }>(retiredSql, [key.name, key.version])
  if (rows[0]?.fewer === true) throw shorter(key, 'has counted weeks that were retired since')
  if (key.name !== 'rollups' || device === undefined) return
  const since = await firstLost(tx, key, device)
  if (since !== undefined) throw shorter(key, `has rows of ${device} from ${since} on`)
}

// What retention knows nothing of: weeks that somebody dropped, or that were counted before there was a history.
const firstSql = (schema: string): string => `
select bucket::text as since from (select bucket, width from ${schema}.buckets where device = $1 order by bucket limit 1) as f
where not exists (select from tidegate.events as e where e.source = any($2::text[]) and e.disposition = 'accepted'
  and least(e.time, e.recorded_time) < f.bucket + case f.width when 'minute' then interval '1 minute' when 'hour' then interval '1 hour' else interval '1 day' end)`

/** The first bucket of a device, if nothing of it is in history. */
async function firstLost(tx: Transaction, key: VersionKey, device: string): Promise<string | undefined> {
  const { rows: there } = await tx.query<{ there: boolean }>('select to_regclass($1) is not null as there', [
    `${schemaOf(key)}.buckets`,
  ])
  if (there[0]?.there !== true) return undefined
  const sources = [deviceSource(device), `/gateways/${device}`]
  const { rows } = await tx.query<{ since: string }>(firstSql(schemaOf(key)), [device, sources])
  return rows[0]?.since
}

const switchedSql = `
select exists (select from tidegate.retirements as r
  join tidegate.projection_versions as v on v.name = $1 and v.version = $2
  join tidegate.projection_versions as a on a.name = $1 and a.version = $3
  where r.retired_at > a.started_at and r.retired_at < coalesce(v.live_at, 'infinity')) as fewer`

/**
 * Refuses to have readers see a version that was built when weeks were gone already which the active one has counted.
 * @throws TidegateError `PROJECTION_HISTORY_SHORTER`
 */
export async function refuseFewer(tx: Transaction, key: VersionKey, active: number): Promise<void> {
  const { rows } = await tx.query<{ fewer: boolean }>(switchedSql, [key.name, key.version, active])
  if (rows[0]?.fewer === true)
    throw shorter(key, `was built when weeks were retired that version ${active} has counted`)
}

function shorter({ name, version }: VersionKey, how: string): TidegateError {
  return new TidegateError('PROJECTION_HISTORY_SHORTER', {
    message: `projection ${name} ${version} ${how}: readers would see less than they do now`,
    retryable: false,
    hint: 'leave it as it is; with --force it counts what history has still, and the rest is gone',
  })
}
