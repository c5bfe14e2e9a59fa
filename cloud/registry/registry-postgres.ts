import { createHash } from 'node:crypto'
import { TidegateError } from '../../src/errors.ts'
import { digestOfFiles } from '../../src/schemas/snapshot.ts'
import type { Transaction } from '../database/storage.ts'
import { emptyState, type Plan, type RegistryState, type Revision } from './registry.ts'

/** One statement, and the rows that it answers with. */
export type Query = <Row extends object>(text: string, values?: readonly unknown[]) => Promise<Row[]>

export function queryIn(tx: Transaction): Query {
  return async <Row extends object>(text: string, values: readonly unknown[] = []) =>
    (await tx.query<Row>(text, values)).rows
}

const newestSql = `select revision, digest from tidegate.schema_revisions order by revision desc limit 1`

// One statement sees one moment: the files and the revision that they are of.
const stateSql = `
select r.revision, r.digest, f.path, f.bytes
from (${newestSql}) as r left join lateral (
  select distinct on (path) path, bytes from tidegate.schema_files where revision <= r.revision order by path, revision desc
) as f on true order by f.path`

/** The newest revision; 0: nothing was ever applied. @throws what the query throws */
export async function readRevision(query: Query): Promise<Revision> {
  const [row] = await query<Revision>(newestSql)
  return row ?? { revision: 0, digest: emptyState.digest }
}

/** All that is published. @throws TidegateError `SCHEMA_REGISTRY` it is not what its revision says, and what the query throws */
export async function readState(query: Query): Promise<RegistryState> {
  const rows = await query<Revision & { path: string | null; bytes: Uint8Array }>(stateSql)
  const [first] = rows
  if (first === undefined) return emptyState
  const { revision, digest } = first
  const files = new Map(rows.flatMap(({ path, bytes }) => (path === null ? [] : [[path, bytes] as const])))
  if (digestOfFiles(files) === digest) return { revision, digest, files }
  throw new TidegateError('SCHEMA_REGISTRY', {
    message: `the files of the registry are not those of its revision ${revision}`,
    retryable: false,
    hint: 'somebody has written to tidegate.schema_files beside tidegate schema apply: find out who, and restore the tables',
  })
}

/** The files that there were at a revision. @throws what the query throws */
export async function readFilesAt(revision: number, query: Query): Promise<Map<string, Uint8Array>> {
  const rows = await query<{ path: string; bytes: Uint8Array }>(
    'select distinct on (path) path, bytes from tidegate.schema_files where revision <= $1 order by path, revision desc',
    [revision],
  )
  return new Map(rows.map(({ path, bytes }) => [path, bytes]))
}

/** A revision with who made it and why. */
export interface RevisionRecord extends Revision {
  appliedAt: string
  actor: string
  reason: string
  /** Its snapshot was signed. */
  isSigned: boolean
}

/** The newest so many, newest first. */
export async function readRevisions(query: Query, countMax: number): Promise<RevisionRecord[]> {
  return query(
    `select r.revision, r.digest, to_char(r.applied_at at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') as "appliedAt",
       d.actor, d.reason, exists (select from tidegate.schema_snapshots as s where s.revision = r.revision) as "isSigned"
     from tidegate.schema_revisions as r join tidegate.deeds as d using (deed) order by r.revision desc limit $1`,
    [countMax],
  )
}

export interface StoredSnapshot {
  revision: number
  sha256: string
}

/** The snapshot of the newest revision that was signed, the last one if there are several; undefined: none ever was. */
export async function readSnapshot(
  query: Query,
): Promise<(StoredSnapshot & { bytes: Uint8Array }) | undefined> {
  const [row] = await query<StoredSnapshot & { bytes: Uint8Array }>(
    `select revision, sha256, bytes from tidegate.schema_snapshots order by revision desc, added_at desc limit 1`,
  )
  return row
}

/** The same without its bytes: for whoever has it already. */
export async function readSnapshotName(query: Query): Promise<StoredSnapshot | undefined> {
  const [row] = await query<StoredSnapshot>(
    `select revision, sha256 from tidegate.schema_snapshots order by revision desc, added_at desc limit 1`,
  )
  return row
}

/** One after the other: what was read of the registry stays so until the end of the transaction. */
export async function lockRegistry(tx: Transaction): Promise<void> {
  await tx.query(`select pg_advisory_xact_lock(hashtextextended('tidegate schemas', 0))`)
}

/** Adds a revision, within the transaction of its deed. For whoever has locked the registry. */
export async function addRevision(tx: Transaction, deed: string, { changes, state }: Plan): Promise<void> {
  await tx.query('insert into tidegate.schema_revisions (revision, digest, deed) values ($1, $2, $3)', [
    state.revision,
    state.digest,
    deed,
  ])
  // One after the other: all at once would be in memory several times over.
  for (const { path, sha256 } of changes)
    await tx.query(
      'insert into tidegate.schema_files (path, revision, sha256, bytes) values ($1, $2, $3, $4)',
      [path, state.revision, sha256, Buffer.from(state.files.get(path) as Uint8Array)],
    )
}

/** Adds a signed snapshot of a revision; the same again changes nothing. */
export async function addSnapshot(
  tx: Transaction,
  deed: string,
  { revision, bytes }: { revision: number; bytes: Uint8Array },
): Promise<void> {
  await tx.query(
    `insert into tidegate.schema_snapshots (revision, sha256, bytes, deed) values ($1, $2, $3, $4) on conflict do nothing`,
    [revision, sha256Of(bytes), Buffer.from(bytes), deed],
  )
}

/** Of bytes as they are. */
function sha256Of(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex')
}
