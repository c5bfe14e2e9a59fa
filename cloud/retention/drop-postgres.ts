import { acceptanceType, cloudLedger } from '../../src/contract/event.ts'
import type { Transaction } from '../database/storage.ts'
import { type ArchivedRange, type Faulty, keptTypesSql, type Manifest } from './format.ts'
import { type OwnerSession, quoted } from './owner-postgres.ts'
import { beforePartition, otherPartition } from './partitions-postgres.ts'

// What is asked of an acceptance is asked once, and what was answered is not answered otherwise. Its ledger is read backwards to its time.
const acceptancesSql = (condition: string): string => `
insert into tidegate.accepted_through (event_epoch, event_sequence, reached)
select a.epoch, a.sequence, known.reached
from tidegate.events as a
join (select distinct * from unnest($1::text[], $2::text[])) as l (gateway, epoch)
  on l.gateway = a.body -> 'data' ->> 'gateway' and l.epoch = a.body -> 'data' ->> 'epoch'
cross join lateral (
  select sequence as reached from tidegate.events as e
  where e.gateway = l.gateway and e.epoch = l.epoch and e.stored_time <= a.stored_time order by e.sequence desc limit 1) as known
where a.gateway = '${cloudLedger}' and a.type = '${acceptanceType}' and ${condition} and not exists (
  select from tidegate.accepted_through as t where t.event_epoch = a.epoch and t.event_sequence = a.sequence)
on conflict do nothing`

// What is as old as this has nothing before it that is not committed yet.
const isSettled = `a.stored_time < clock_timestamp() - interval '1 hour'`

/** How far ledgers were known when losses of them were accepted is shown by events that are to go: it is put down before anybody has to wait. */
export async function keepSettledAcceptances(
  { storage, log, signal }: OwnerSession,
  ranges: readonly ArchivedRange[],
): Promise<void> {
  await storage.transaction((tx) => keep(tx, ranges, isSettled), signal)
  log.debug({ step: 'retire: acceptances kept' })
}

/** Those of the last hour. */
export function keepAcceptances(tx: Transaction, ranges: readonly ArchivedRange[]): Promise<unknown> {
  return keep(tx, ranges, 'true')
}

function keep(tx: Transaction, ranges: readonly ArchivedRange[], condition: string): Promise<unknown> {
  const gateways = ranges.map(({ gateway }) => gateway)
  return tx.query(acceptancesSql(condition), [gateways, ranges.map(({ epoch }) => epoch)])
}

const columns = [
  'position', 'gateway', 'epoch', 'sequence', 'source', 'id', 'type', 'subject', 'dataschema', 'time',
  'recorded_time', 'stored_time', 'disposition', 'reason', 'body', 'era', 'tx',
].join(', ') // prettier-ignore

const keptColumns = columns
  .split(', ')
  .map((column) => `e.${column}`)
  .join(', ')

/**
 * What stays of a partition: each kind of it is found by an index of its own, however large the partition is, for others wait. The last one is
 * given the places of what is not as it was written.
 */
export function keptSelects(table: string): { kinds: string[]; faulty: string } {
  const isOther = `e.gateway <> '${cloudLedger}'`
  const kinds = [`e.gateway = '${cloudLedger}'`, `${isOther} and e.type in (${keptTypesSql})`]
  return {
    kinds: kinds.map((condition) => `select ${keptColumns} from ${table} as e where ${condition}`),
    faulty: `
select ${keptColumns} from unnest($1::text[], $2::text[], $3::bigint[]) as f (gateway, epoch, sequence)
cross join lateral (
  select * from ${table} as e where e.gateway = f.gateway and e.epoch = f.epoch and e.sequence = f.sequence offset 0) as e
where ${isOther} and e.type not in (${keptTypesSql})`,
  }
}

/** Drops a partition, but for what the rest of history rests on, and what is not as it was written. Within its lock. */
export async function drop(tx: Transaction, { partition, until, faulty }: Manifest): Promise<void> {
  const table = `tidegate.${quoted(partition)}`
  const kept = 'tidegate.kept_of_retired'
  await tx.query(`create table ${kept} (like tidegate.events)`)
  const { kinds, faulty: faultySql } = keptSelects(table)
  const of = (key: keyof Faulty): unknown[] => faulty.map((one) => one[key])
  const places = [of('gateway'), of('epoch'), of('sequence')]
  for (const sql of kinds) await tx.query(`insert into ${kept} (${columns}) ${sql}`)
  await tx.query(`insert into ${kept} (${columns}) ${faultySql}`, places)
  await tx.query(`drop table ${table}`)
  const skipping = [otherPartition]
  if (partition === beforePartition) {
    // Clocks that begin in 1970 have a place, always.
    await tx.query('select tidegate.make_partition($1)', [partition])
    await tx.query(
      `alter table tidegate.events attach partition ${table} for values from (minvalue) to ('${until}')`,
    )
    await tx.query(
      `create trigger skip_retired before insert on ${table} for each row execute function tidegate.skip_retired()`,
    )
    skipping.push(beforePartition)
  }
  // Into the partition that has what belongs to no other, or into that one; also what is at fault for being in a place that is retired.
  const all = (what: string): Promise<unknown[]> =>
    Promise.all(
      skipping.map((one) => tx.query(`alter table tidegate.${quoted(one)} ${what} trigger skip_retired`)),
    )
  await all('disable')
  await tx.query(`insert into tidegate.events (${columns}) select ${columns} from ${kept}`)
  await all('enable')
  await tx.query(`drop table ${kept}`)
}
