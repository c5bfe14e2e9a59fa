import type { Statements } from '../database/statements.ts'

/**
 * Makes `now()` and `clock_timestamp()` what a test says, in statements that name no schema; where nothing is said they are the server's.
 * Of connections that are made from then on, and of this one.
 */
export const lieOfTimeSql = `
create schema tidegate_time;
grant usage on schema tidegate_time to public;
create function tidegate_time.clock_timestamp() returns timestamptz language sql volatile as $$
  select coalesce(to_timestamp(nullif(current_setting('tidegate_time.now_ms', true), '')::float8 / 1000),
                  pg_catalog.clock_timestamp()) $$;
create function tidegate_time.now() returns timestamptz language sql stable as $$
  select coalesce(to_timestamp(nullif(current_setting('tidegate_time.began_ms', true), '')::float8 / 1000),
                  pg_catalog.now()) $$;
do $$ begin
  execute format('alter database %I set search_path to tidegate_time, pg_catalog, "$user", public', current_database());
end $$;
set search_path to tidegate_time, pg_catalog, "$user", public`

/** Until the end of this transaction: the time that it is, and that at which the transaction is said to have begun. */
export async function tellTime(tx: Statements, nowMs: number, beganMs: number): Promise<void> {
  await tx.run(
    'tell-time',
    `select set_config('tidegate_time.now_ms', $1, true), set_config('tidegate_time.began_ms', $2, true)`,
    [String(nowMs), String(beganMs)],
  )
}
