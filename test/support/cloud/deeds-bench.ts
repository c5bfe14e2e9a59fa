import { randomUUID } from 'node:crypto'
import { createDatabase as poolOf, type Database } from '../../../cloud/database/database-postgres.ts'
import { postgresStorage } from '../../../cloud/database/storage-postgres.ts'
import type { Storage } from '../../../cloud/database/storage.ts'
import type { Deed, Deeds, GroupKnown } from '../../../cloud/deeds/deeds.ts'
import { postgresDeeds } from '../../../cloud/deeds/deeds-postgres.ts'
import { postgresPages } from '../../../cloud/history/replay-pages-postgres.ts'
import { noSchemaCheck, type SchemaCheck } from '../../../cloud/reading/schema-check.ts'
import { postgresReplays } from '../../../cloud/replays/replays-postgres.ts'
import type { Replays } from '../../../cloud/replays/replays.ts'
import { systemClock } from '../../../src/clock.ts'
import { noSchemas, type SchemaRegistry } from '../../../src/schemas/registry.ts'
import { type CloudBench, openCloudBench } from './cloud.ts'

/**
 * A consumer that fails for good while there is a row for the device in `broken`; then it leaves a row in `effects`. Instances of the
 * cloud share the table, and so what is wrong.
 */
export const effects = `
import { defineConsumer } from ${JSON.stringify(new URL('../../../cloud/pipeline/consumer.ts', import.meta.url).href)}
export default defineConsumer({
  group: 'effects',
  types: ['#'],
  async handle(event, { tx }) {
    const broken = await tx.query('select from public.broken where device = $1', [event.partitionkey])
    if (broken.rowCount > 0) throw Object.assign(new Error('site unknown'), { code: 'SITE_UNKNOWN', retryable: false })
    await tx.query('insert into public.effects (device, sequence, id, data, edited) values ($1, $2, $3, $4, $5)',
      [event.partitionkey, event.sequence, event.id, JSON.stringify(event.data), event.edited && JSON.stringify(event.edited)])
  },
})
`

const tablesSql = `
create table public.broken (device text primary key);
create table public.effects (n bigint generated always as identity, device text, sequence bigint, id text, data json, edited json);
grant select, insert on public.broken, public.effects to public`

export interface DeedsBench extends CloudBench {
  deeds: Deeds
  /** The same on another storage. */
  deedsOn(storage: Storage, isTrial?: boolean): Deeds
  replays(leaseMs?: number): Replays
  database: Database
  /** Starts a cloud with `effects` and history. */
  startEffects(more?: object): ReturnType<CloudBench['start']>
  /** From now on this device fails, or does not any more. */
  breakDevice(device: string): Promise<unknown>
  mendDevice(device: string): Promise<unknown>
  letterStates(): Promise<LetterStateRow[]>
  effects(): Promise<{ device: string; sequence: number; id: string; data: unknown; edited: unknown }[]>
}

export interface LetterStateRow {
  letter: number
  group: string
  id: string | null
  state: string
  replays: number
  replay: number | null
  code: string
}

export interface DeedsBenchOptions {
  checkSchema?: SchemaCheck
  schemas?: SchemaRegistry
  /** What the instance knows of groups; else nothing. */
  known?: GroupKnown
}

export async function openDeedsBench({
  checkSchema = noSchemaCheck,
  schemas = noSchemas,
  known = () => undefined,
}: DeedsBenchOptions = {}): Promise<DeedsBench> {
  const bench = await openCloudBench()
  await bench.rows(tablesSql)
  const { url } = bench.config().database
  const database = poolOf({ url, poolMax: 8, applicationName: 'test-deeds' })
  const storage = postgresStorage(database)
  const { signal } = new AbortController()
  const module = bench.module(effects)
  const deedsOn = (storage: Storage, isTrial = false): Deeds =>
    postgresDeeds({
      storage,
      checkSchema,
      accepts: (_, event) => checkSchema(event) === undefined,
      schemas,
      clock: systemClock,
      random: Math.random,
      signal,
      isTrial,
      known,
    })
  return {
    ...bench,
    database,
    deeds: deedsOn(storage),
    deedsOn,
    replays: (leaseMs = 60_000) =>
      postgresReplays({ storage, leaseMs, groups: ['effects', 'history'], pages: postgresPages, signal }),
    startEffects: (more) =>
      bench.start({ consumers: ['history', { module }], retry: { ladder: ['100ms'] }, ...more }),
    breakDevice: (device) => bench.rows('insert into public.broken values ($1)', [device]),
    mendDevice: (device) => bench.rows('delete from public.broken where device = $1', [device]),
    letterStates: () =>
      bench.rows(
        `select letter::float8 as letter, consumer_group as "group", id, state, replays, replay::float8 as replay, code
         from tidegate.dead_letters order by letter`,
      ),
    effects: () =>
      bench.rows(
        'select device, sequence::float8 as sequence, id, data, edited from public.effects order by n',
      ),
    async close() {
      await bench.close()
      await database.close()
    },
  }
}

/** A deed of somebody, with a key of its own. */
export function deedOf<Request>(request: Request, more: Partial<Deed<Request>> = {}): Deed<Request> {
  return {
    key: randomUUID(),
    by: { actor: 'ada@example.com', roles: ['operator'] },
    reason: 'sites were added',
    request,
    ...more,
  }
}
