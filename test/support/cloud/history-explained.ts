import type { Database } from '../../../cloud/database/database-postgres.ts'

interface Plan {
  'Shared Hit Blocks': number
  'Shared Read Blocks': number
}

/** What a statement touches: pages of 8 KiB, in memory or not. */
export async function explained(
  database: Database,
  sql: string,
  values: readonly unknown[] = [],
): Promise<{ pages: number; tookMs: number }> {
  const session = await database.session()
  const explain = () =>
    session.query<{ 'QUERY PLAN': [{ Plan: Plan; 'Execution Time': number; 'Planning Time': number }] }>(
      `explain (analyze, buffers, format json) ${sql}`,
      values,
    )
  // The first time a session reads the catalogue as well.
  await explain()
  const [row] = await explain()
  await session.end()
  const [explained] = row?.['QUERY PLAN'] ?? []
  if (explained === undefined) throw new Error('no plan')
  const { Plan: plan } = explained
  const tookMs = explained['Execution Time'] + explained['Planning Time']
  return { tookMs, pages: plan['Shared Hit Blocks'] + plan['Shared Read Blocks'] }
}
