/** What people have done about failures: on record before it is done. */
export const deeds = {
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
  through        bigint not null,
  total          bigint not null default 0,
  sent           bigint not null default 0,
  resolved       bigint not null default 0,
  failed         bigint not null default 0,
  returned       bigint not null default 0,
  step           integer not null default 0,
  step_sent      bigint not null default 0,
  cursor         json,
  page           bigint[],
  exhausted      boolean not null default false,
  started_at     timestamptz not null default clock_timestamp(),
  moved_at       timestamptz not null default clock_timestamp(),
  ended_at       timestamptz,
  claim          uuid,
  claimed_until  timestamptz
);
create index replays_under_way on tidegate.replays (replay) where ended_at is null;
comment on table tidegate.replays is 'Dead letters on their way back to their group, and how far they are.';
comment on column tidegate.replays.through is 'The newest letter there was at the start: what fails later is not of this replay.';
comment on column tidegate.replays.page is
  'Letters that are replaying and of which it is not known whether all have been sent: they are sent again by whoever takes the replay over.';

create index dead_letters_order on tidegate.dead_letters
  (coalesce(device, ''), coalesce(epoch, ''), coalesce(sequence, 0), letter) where state = 'open';

create table tidegate.replay_counts (
  replay   bigint not null,
  resolved integer not null,
  failed   integer not null
);
comment on table tidegate.replay_counts is
  'What is to be added to the counts of replays: whoever resolves a letter waits for no other. Folded by the replayer.';

create table tidegate.own_ledger (
  one      boolean primary key default true check (one),
  epoch    text collate "C" not null,
  sequence bigint not null,
  chain    text not null
);
comment on table tidegate.own_ledger is
  'The end of the ledger that the cloud itself writes into tidegate.events. Its lock is what makes the sequence one without gaps.';

create table tidegate.resolutions (
  letter         bigint primary key,
  consumer_group text collate "C" not null,
  source         text collate "C" not null,
  id             text collate "C" not null,
  outcome        text not null check (outcome in ('resolved', 'discarded')),
  edited         boolean not null,
  replay         bigint,
  at             timestamptz not null default clock_timestamp()
);
create index resolutions_id on tidegate.resolutions (id, source);
comment on table tidegate.resolutions is
  'What has become of the dead letter of an event, in the transaction that did it. Append-only, and kept when the letter is not any more.';

create table tidegate.admissions (
  gateway           text collate "C" not null,
  epoch             text collate "C" not null,
  sequence          bigint not null,
  admitted_epoch    text collate "C" not null,
  admitted_sequence bigint not null,
  deed              uuid not null,
  at                timestamptz not null default clock_timestamp(),
  primary key (gateway, epoch, sequence)
);
comment on table tidegate.admissions is
  'Readings that were rejected at the edge, and the events of the cloud''s own ledger that were made of them. Append-only.';

create table tidegate.unpublished (
  epoch    text collate "C" not null,
  sequence bigint not null,
  primary key (epoch, sequence)
);
comment on table tidegate.unpublished is 'Events of the cloud''s own ledger that are still to be published.';

create trigger append_only before update or delete or truncate on tidegate.resolutions
  for each statement execute function tidegate.refuse_change();
create trigger append_only before update or delete or truncate on tidegate.admissions
  for each statement execute function tidegate.refuse_change();

create view tidegate.dispositions as
select e.gateway, e.epoch, e.sequence, e.source, e.id, e.type, e.time, e.reason, e.disposition as recorded,
       case when a.deed is not null then 'admitted'
            when e.disposition = 'dead' and r.resolved > 0 then 'resolved'
            when e.disposition = 'dead' and r.discarded > 0 then 'discarded'
            else e.disposition end as disposition,
       coalesce(r.resolved, 0) as resolved_in, coalesce(r.discarded, 0) as discarded_in, coalesce(l.open, 0) as open_in,
       a.deed as admission, a.admitted_epoch, a.admitted_sequence
from tidegate.events as e
left join tidegate.admissions as a using (gateway, epoch, sequence)
left join lateral (
  select count(distinct consumer_group) filter (where outcome = 'resolved') as resolved,
         count(distinct consumer_group) filter (where outcome = 'discarded') as discarded
  from tidegate.resolutions as o where o.id = e.id and o.source = e.source) as r on true
left join lateral (
  select count(*) as open from tidegate.dead_letters as d
  where d.id = e.id and d.source = e.source and d.state in ('open', 'replaying')) as l on true;
comment on view tidegate.dispositions is
  'What was recorded of each event, and what it has become since: the row in events never changes.';
`,
}
