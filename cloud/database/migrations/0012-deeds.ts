import type { Migration } from './migration.ts'

/** What people have done about failures: on record before it is done. */
export const deeds: Migration = {
  version: 12,
  name: 'deeds',
  sql: `
create table tidegate.deeds (
  deed     uuid primary key,
  at       timestamptz not null default clock_timestamp(),
  actor    text not null,
  roles    text[] not null,
  verb     text not null,
  reason   text,
  request  json not null,
  outcome  json
);
create index deeds_at on tidegate.deeds (at);
comment on table tidegate.deeds is 'What was asked for, by whom and why; deed is the idempotency key. Each is an event of the cloud''s own ledger as well.';

create table tidegate.replays (
  replay         bigint generated always as identity primary key,
  deed           uuid not null references tidegate.deeds,
  filter         json not null,
  rate           double precision,
  ramp           integer[],
  stop_at_share  double precision,
  state          text not null check (state in ('running', 'stopping', 'stopped', 'done')),
  reason         text,
  total          bigint not null default 0,
  sent           bigint not null default 0,
  resolved       bigint not null default 0,
  failed         bigint not null default 0,
  started_at     timestamptz not null default clock_timestamp(),
  ended_at       timestamptz,
  claim          uuid,
  claimed_until  timestamptz
);
comment on table tidegate.replays is 'Dead letters on their way back to their group, and how far they are.';
`,
}
