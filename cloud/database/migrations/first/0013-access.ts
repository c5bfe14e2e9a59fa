/** Which tokens of the API are good no longer, and whether groups are to work. */
export const access = {
  version: 13,
  name: 'access',
  sql: `
create table tidegate.tokens (
  jti        text collate "C" primary key,
  subject    text not null,
  roles      text[] not null,
  issued_at  timestamptz not null,
  expires_at timestamptz not null,
  revoked_at timestamptz
);
comment on table tidegate.tokens is 'Tokens that were minted here, and those that were taken back; what has expired is removed.';

create table tidegate.group_states (
  consumer_group text collate "C" primary key,
  state          text not null check (state in ('paused', 'tripped', 'trial')),
  since          timestamptz not null default clock_timestamp(),
  until          timestamptz,
  trips          integer not null default 0,
  actor          text not null,
  reason         text not null
);
-- Readings that were quarantined, and events that break their schema, are few among many: whoever lists them reads no others.
-- Writers of history wait while it is built; an operator may have built it before, concurrently.
create index if not exists events_set_aside on tidegate.events (position) where disposition <> 'accepted';

comment on table tidegate.group_states is 'Groups that somebody has paused, or that have tripped; a group that works has no row. Read every few seconds by all instances.';
`,
}
