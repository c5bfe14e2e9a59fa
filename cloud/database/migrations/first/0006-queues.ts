/** Partition queues with other settings are other queues: who reads which, and which former ones are drained. */
export const queues = {
  version: 6,
  name: 'queues',
  sql: `
create table tidegate.drained_queues (
  queue      text collate "C" primary key,
  drained_at timestamptz not null default clock_timestamp()
);
comment on table tidegate.drained_queues is
  'Partition queues of former versions that get no events any more and hold none, so that the new ones may be read.';

alter table tidegate.members add column queue_generation integer not null default 1;
comment on column tidegate.members.queue_generation is
  'The generation of partition queues that an instance reads; those of former versions do not say, and read the first.';
`,
}
