import { lockTimeoutMs, type OwnerSession, patiently, type Query, quoted } from './owner-postgres.ts'

interface Index {
  name: string
  /** What follows `create`. */
  kind: 'index' | 'unique index'
  on: string
}

/** As the function tidegate.index_partition makes them, in a transaction and while nobody writes. */
function wantedOn(partition: string): Index[] {
  const index = (suffix: string, on: string, kind: Index['kind'] = 'index'): Index => ({
    name: `${partition}_${suffix}`,
    kind,
    on,
  })
  return [
    index('id', '(id, source)', 'unique index'),
    index('order', '(era, tx, position)'),
    index('type', '(type, era, tx, position)'),
    index('source', '(source, time)'),
    index('position', '(position)'),
    index('claimed', `(tidegate.claimed_id(body)) where type = 'dev.tidegate.rejected'`),
    index('set_aside', `(position) where disposition <> 'accepted'`),
    index(
      'times',
      'using brin (time, recorded_time, stored_time) with (pages_per_range = 32, autosummarize = on)',
    ),
  ]
}

const thereSql = `
select i.relname as name, x.indisvalid as valid from pg_index as x join pg_class as i on i.oid = x.indexrelid
where x.indrelid = ('tidegate.' || quote_ident($1))::regclass`

/** Which of its indexes a partition lacks, and which were begun and never finished. */
export async function indexesOf(
  query: Query,
  partition: string,
): Promise<{ missing: Index[]; broken: string[] }> {
  const there = await query<{ name: string; valid: boolean }>(thereSql, [partition])
  const ours = new Set(wantedOn(partition).map(({ name }) => name))
  const isThere = ({ name }: Index): boolean => there.some((one) => one.valid && one.name === name)
  return {
    missing: wantedOn(partition).filter((index) => !isThere(index)),
    // Of ours: another one may be in the making by somebody else.
    broken: there.filter(({ name, valid }) => !valid && ours.has(name)).map(({ name }) => name),
  }
}

/** That of before there were partitions. */
const formerSql = `
select conname as name from pg_constraint
where conrelid = ('tidegate.' || quote_ident($1))::regclass and conname = 'events_before_source_id_key'`

/**
 * Makes the indexes that partitions lack, one after the other, while everything works. What a crash left half done is begun anew. At last the
 * former one goes, which the first of the new ones replaces.
 * @returns what was made
 */
export async function indexPartitions(
  owner: OwnerSession,
  onIndex: (name: string) => void = () => {},
): Promise<string[]> {
  const { query, storage, signal } = owner
  const made: string[] = []
  const partitions = await query<{ partition: string }>(
    'select partition from tidegate.partitions order by from_time',
  )
  for (const { partition } of partitions) {
    const { missing, broken } = await indexesOf(query, partition)
    for (const name of broken) await query(`drop index concurrently tidegate.${quoted(name)}`)
    for (const { name, kind, on } of missing) {
      onIndex(name)
      await query(`create ${kind} concurrently ${quoted(name)} on tidegate.${quoted(partition)} ${on}`)
      made.push(name)
    }
    for (const { name } of await query<{ name: string }>(formerSql, [partition])) {
      await patiently(owner, () =>
        storage.transaction(async (tx) => {
          await tx.query(`set local lock_timeout = ${lockTimeoutMs}`)
          await tx.query(`alter table tidegate.${quoted(partition)} drop constraint ${quoted(name)}`)
        }, signal),
      )
    }
  }
  return made
}
