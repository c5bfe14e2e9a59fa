import type { Database } from '../../database/database-postgres.ts'
import type { TokenRecord, Tokens } from './tokens.ts'

const columns = `jti, subject, roles,
  extract(epoch from issued_at)::float8 * 1000 as "issuedAtMs",
  extract(epoch from expires_at)::float8 * 1000 as "expiresAtMs",
  extract(epoch from revoked_at)::float8 * 1000 as "revokedAtMs"`

// What has expired goes with what comes, and when somebody looks: there are never more than came in a day.
const goneSql = `delete from tidegate.tokens where expires_at < clock_timestamp() - interval '1 day'`

const addSql = `
with gone as (${goneSql})
insert into tidegate.tokens (jti, subject, roles, issued_at, expires_at)
values ($1, $2, $3, to_timestamp($4::float8 / 1000), to_timestamp($5::float8 / 1000))`

// One row cannot be deleted and inserted at once.
const revokeSql = `
with gone as (${goneSql} and jti <> $1)
insert into tidegate.tokens (jti, subject, roles, issued_at, expires_at, revoked_at)
values ($1, 'unknown', '{}', clock_timestamp(), to_timestamp($2::float8 / 1000), clock_timestamp())
on conflict (jti) do update set revoked_at = coalesce(tokens.revoked_at, excluded.revoked_at)
returning ${columns}`

const listSql = `
with gone as (${goneSql})
select ${columns} from tidegate.tokens where expires_at > clock_timestamp() order by issued_at desc limit 1000`

export function postgresTokens(database: Pick<Database, 'query'>): Tokens {
  return {
    async add({ jti, subject, roles, issuedAtMs, expiresAtMs }) {
      await database.query(addSql, [jti, subject, roles, issuedAtMs, expiresAtMs])
    },
    async standing(jti) {
      const [row] = await database.query<{ revoked: boolean }>(
        'select revoked_at is not null as revoked from tidegate.tokens where jti = $1',
        [jti],
      )
      if (row === undefined) return 'unknown'
      return row.revoked ? 'revoked' : 'good'
    },
    list: () => database.query<TokenRecord>(listSql),
    async revoke(jti, untilMs) {
      const [row] = await database.query<TokenRecord>(revokeSql, [jti, untilMs])
      return row as TokenRecord
    },
  }
}
