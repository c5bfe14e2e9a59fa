import { randomUUID } from 'node:crypto'
import { cloudLedger } from '../../src/contract/event.ts'
import type { Storage, Transaction } from '../database/storage.ts'
import type { HistoryPages } from '../replays/history-pages.ts'
import type { Taken } from '../replays/history-source-postgres.ts'
import type { Beginnings, ClaimedBeginning, Standing } from './beginnings.ts'

export interface BeginningsOptions {
  storage: Storage
  pages: HistoryPages
  taken: Taken
  /** Puts it on record that a group begins; idempotent. */
  begin: (group: string) => Promise<void>
  /** Without a sign of life for so long whoever has one is gone, ms. */
  leaseMs: number
  signal: AbortSignal
}

const standingSql = `
select coalesce(
  (select case when ended_at is null then 'under-way' else 'over' end from tidegate.replays where source = 'start' and filter ->> 'group' = $1),
  (select 'before' from tidegate.inbox_groups where name = $1)) as standing`

// A number of the identity is not spent on each start.
const noteSql = `
insert into tidegate.inbox_groups (name) select $1 where not exists (select from tidegate.inbox_groups where name = $1) on conflict do nothing`

const claimSql = `
update tidegate.replays set claim = $1, kept_until = clock_timestamp() + $3 * interval '1 ms'
where source = 'start' and filter ->> 'group' = $2 and ended_at is null
  and (kept_until is null or kept_until < clock_timestamp())
returning replay::float8 as replay, coalesce(cursor #>> '{}', '') as cursor, bound as "isBound",
  through_cursor is not null as "isClosed"`

const keepSql = `
update tidegate.replays set kept_until = clock_timestamp() + $3 * interval '1 ms'
where replay = $1 and claim = $2 and ended_at is null returning state`

const boundSql = `
update tidegate.replays set bound = true, kept_until = clock_timestamp() + $3 * interval '1 ms'
where replay = $1 and claim = $2 and ended_at is null returning state`

const throughSql = `select through_cursor as through from tidegate.replays where replay = $1 and claim = $2`

// What comes meanwhile is before it as well.
const passedSql = `
update tidegate.replays as r set cursor = to_json($4::text), sent = sent + $5, total = greatest(total, p.last - first_position),
  looked = greatest(0, least(greatest(total, p.last - first_position), nullif(split_part($4, '.', 3), '')::bigint - first_position)),
  kept_until = clock_timestamp() + $3 * interval '1 ms', moved_at = clock_timestamp()
from (select coalesce(nullif(split_part(tidegate.horizon(), '.', 3), '')::bigint, 0) as last) as p
where replay = $1 and claim = $2 and ended_at is null returning state`

const markerSql = `
select e.id, e.body::text as text from tidegate.events as e join tidegate.replays as r on r.replay = $1 and r.deed::text = e.id
where e.gateway = '${cloudLedger}' and e.source = '/gateways/${cloudLedger}'`

const settledSql = `select distinct partition from tidegate.replay_counts where replay = $1 and generation = $2`

const closeSql = `update tidegate.replays set through_cursor = $3 where replay = $1 and claim = $2 and ended_at is null`

const endSql = `
with gone as (delete from tidegate.replay_counts where replay = $1)
update tidegate.replays set state = $3, looked = case when $3 = 'done' then total else looked end, ended_at = clock_timestamp(), claim = null,
  reason = case when $3 = 'done' then reason else coalesce(reason, 'stopped by hand') end
where replay = $1 and claim = $2`

const releaseSql = `
update tidegate.replays set claim = null, kept_until = null where replay = $1 and claim = $2 and ended_at is null`

/** One row of `tidegate.replays` for each group that begins: as a replay of all of history, which the group does itself. */
export function postgresBeginnings(options: BeginningsOptions): Beginnings {
  const { storage, pages, taken, leaseMs, signal } = options
  const run = <T>(work: (tx: Transaction) => Promise<T>): Promise<T> => storage.transaction(work, signal)
  const ask = async <Row>(sql: string, values: unknown[]): Promise<Row | undefined> =>
    (await run((tx) => tx.query<Row>(sql, values))).rows[0]
  const change = async (sql: string, values: unknown[]): Promise<boolean> =>
    (await run((tx) => tx.query(sql, values))).rowCount > 0
  const kept = async (sql: string, values: unknown[]): Promise<'running' | 'stopping' | undefined> =>
    (await ask<{ state: 'running' | 'stopping' }>(sql, values))?.state
  const standing: Beginnings['standing'] = async (group) =>
    (await ask<{ standing: Standing | null }>(standingSql, [group]))?.standing ?? undefined
  return {
    standing,
    note: async (group) => void (await change(noteSql, [group])),
    begin: options.begin,
    async claim(group) {
      const claim = randomUUID()
      const row = await ask<Omit<ClaimedBeginning, 'claim' | 'group'>>(claimSql, [claim, group, leaseMs])
      if (row) return { ...row, claim, group }
      return (await standing(group)) === 'over' ? 'over' : undefined
    },
    keep: ({ replay, claim }) => kept(keepSql, [replay, claim, leaseMs]),
    read: ({ replay, claim, group }, after, max) =>
      run(async (tx) => {
        const { rows } = await tx.query<{ through: string | null }>(throughSql, [replay, claim])
        const through = rows[0]?.through ?? undefined
        const asked = { after, through, selection: { group }, max }
        return pages.read(tx, {
          ...asked,
          wants: (type) => taken.wants(group, type),
          patterns: taken.patterns(group),
        })
      }),
    bound: ({ replay, claim }) => kept(boundSql, [replay, claim, leaseMs]),
    passed: ({ replay, claim }, next, events) => kept(passedSql, [replay, claim, leaseMs, next, events]),
    async marker({ replay }) {
      const marker = await ask<{ id: string; text: string }>(markerSql, [replay])
      if (!marker) throw new Error('the deed of the beginning is not in the ledger')
      return marker
    },
    async markersSettled({ replay }, round) {
      const { rows } = await run((tx) => tx.query<{ partition: number }>(settledSql, [replay, round]))
      return new Set(rows.map(({ partition }) => partition))
    },
    close: ({ replay, claim }) =>
      run(async (tx) => void (await tx.query(closeSql, [replay, claim, await pages.end(tx)]))),
    release: async ({ replay, claim }) => void (await change(releaseSql, [replay, claim])),
    end: async ({ replay, claim }, state) => void (await change(endSql, [replay, claim, state])),
  }
}
