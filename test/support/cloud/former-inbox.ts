import type { EventIdentity, Transaction } from '../../../cloud/database/storage.ts'

const claimSql = `
insert into tidegate.inbox (consumer_group, source, id)
select $1, source, id from unnest($2::text[], $3::text[]) as claimed (source, id)
order by source collate "C", id collate "C"
on conflict do nothing
returning source, id`

/** As clouds claimed before the inbox had weeks (schema steps up to 17). */
export async function formerClaim(
  tx: Transaction,
  group: string,
  identities: readonly EventIdentity[],
): Promise<boolean[]> {
  const rows = await tx.run<[string, string]>('former-claim', claimSql, [
    group,
    identities.map(({ source }) => source),
    identities.map(({ id }) => id),
  ])
  const fresh = new Set(rows.map(([source, id]) => `${source}\n${id}`))
  return identities.map(({ source, id }) => fresh.delete(`${source}\n${id}`))
}
