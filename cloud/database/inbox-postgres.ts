import type { EventIdentity, Inbox } from './storage.ts'
import type { Statements } from './statements.ts'

// Sorted, so that rival transactions lock in one order and cannot deadlock.
const claimSql = `
insert into tidegate.inbox (consumer_group, source, id)
select $1, source, id from unnest($2::text[], $3::text[]) as claimed (source, id)
order by source collate "C", id collate "C"
on conflict do nothing
returning source, id`

const releaseSql = `
delete from tidegate.inbox
where consumer_group = $1 and (source, id) in (select * from unnest($2::text[], $3::text[]))`

export function postgresInbox(statements: Statements): Inbox {
  return {
    async claim(group, identities) {
      const rows = await statements.run<[string, string]>('inbox-claim', claimSql, [
        group,
        identities.map((identity) => identity.source),
        identities.map((identity) => identity.id),
      ])
      const fresh = new Set(rows.map(([source, id]) => key({ source, id })))
      // Deleting makes the second of equal identities in one call a repeat of the first.
      return identities.map((identity) => fresh.delete(key(identity)))
    },
    async release(group, identities) {
      await statements.run('inbox-release', releaseSql, [
        group,
        identities.map((identity) => identity.source),
        identities.map((identity) => identity.id),
      ])
    },
  }
}

function key({ source, id }: EventIdentity): string {
  return `${source}\n${id}`
}
