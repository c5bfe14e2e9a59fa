import type { Migration } from './migration.ts'

/** Replays out of history beside those of dead letters: one table, one worker, two sources. */
export const replayHistory: Migration = {
  version: 20,
  name: 'replay-history',
  sql: `
alter table tidegate.replays
  add column source text not null default 'letters' check (source in ('letters', 'history', 'start')),
  add column generation text,
  add column repeats bigint not null default 0,
  add column through_cursor text,
  add column page_next text,
  add column page_events integer,
  add column first_position bigint,
  add column looked bigint not null default 0,
  add column kept_until timestamptz,
  add column bound boolean not null default false;
comment on table tidegate.replays is 'Dead letters, and events of history, on their way back to a group, and how far they are.';
comment on column tidegate.replays.source is
  'letters: dead letters; history: events of the record; start: a new group that begins at the beginning of history.';
comment on column tidegate.replays.generation is
  'Part of the inbox key of what it sends: once for each generation, and none is what comes from the gateways.';
comment on column tidegate.replays.repeats is 'Events that the group had processed before: without an effect.';
comment on column tidegate.replays.through_cursor is
  'Of history: what was stored after this is not of this replay. Of a start: null until the queues of the group are bound.';
comment on column tidegate.replays.page_next is 'Of history: the end of a page of which it is not known whether all of it was sent.';
comment on column tidegate.replays.looked is 'Of history: how many positions of total are behind it, whether their events were of the filter or not.';
comment on column tidegate.replays.kept_until is
  'Of a start: until when its claim lasts. claimed_until is infinity there, so that no replayer of a former version takes it for a replay of letters.';
comment on column tidegate.replays.bound is 'Of a start: the queues of the group are bound, or are about to be. Nobody may read them until it is over.';
create unique index replays_start on tidegate.replays ((filter ->> 'group')) where source = 'start';

-- Of groups of before it is not known when they began.
alter table tidegate.inbox_groups add column since timestamptz not null default '-infinity';
alter table tidegate.inbox_groups alter column since set default clock_timestamp();
comment on column tidegate.inbox_groups.since is 'When it was first started, or began to claim: a group that is here does not begin at the beginning of history any more, and a replay of what may have been processed before the inbox remembers is refused.';

alter table tidegate.dead_letters add column generation text;
comment on column tidegate.dead_letters.generation is 'Of the replay out of history that has sent it: its own replays have it as well.';

alter table tidegate.replay_counts
  add column repeats integer not null default 0,
  add column partition smallint,
  add column generation text;
comment on column tidegate.replay_counts.generation is 'Of a marker of a start: the round it was sent in.';
comment on column tidegate.replay_counts.partition is 'Of what was sent out of history: the partition it was sent to.';
`,
}
