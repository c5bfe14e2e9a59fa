/** What each group has processed (G4), and who is there to share partitions with. */
export const inbox = {
  version: 2,
  name: 'inbox',
  sql: `
create table tidegate.inbox (
  consumer_group text collate "C" not null,
  source         text collate "C" not null,
  id             text collate "C" not null,
  processed_at   timestamptz not null default now(),
  primary key (consumer_group, source, id)
);
create index inbox_age on tidegate.inbox using brin (processed_at);
comment on table tidegate.inbox is
  'One row per event and group, written in the same transaction as its effects. Pruned by age.';

create unlogged table tidegate.members (
  consumer_group text collate "C" not null,
  instance       text collate "C" not null,
  seen_at        timestamptz not null,
  primary key (consumer_group, instance)
);
comment on table tidegate.members is 'Cloud instances that share the partitions of a group; heartbeats, worth nothing after a crash.';
`,
}
