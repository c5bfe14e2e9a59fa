import type { Migration } from './migration.ts'

/** Where the events of a device wait behind one that fails (G6). */
export const parking: Migration = {
  version: 22,
  name: 'parking',
  sql: `
create table tidegate.parked_devices (
  consumer_group text collate "C" not null,
  device         text collate "C" not null,
  since          timestamptz not null default clock_timestamp(),
  state          text not null check (state in ('retrying', 'held')),
  attempt        integer not null,
  recovering     boolean not null default false,
  hung           boolean not null default false,
  deeds          integer not null default 0,
  next_at        timestamptz not null,
  code           text,
  message        text,
  skip           bigint,
  claim          uuid,
  claimed_until  timestamptz,
  primary key (consumer_group, device)
);
create index parked_devices_due on tidegate.parked_devices (consumer_group, next_at) where state = 'retrying';
create index parked_devices_first on tidegate.parked_devices (consumer_group, next_at)
  where state = 'retrying' and attempt <= 2 and not hung;
comment on table tidegate.parked_devices is 'Devices of ordered groups whose events wait behind one that fails.';
comment on column tidegate.parked_devices.attempt is 'Of the attempts at the event that waits first, the one that is made next.';
comment on column tidegate.parked_devices.recovering is 'Of this stay what was done with last has succeeded: what fails next has the first step of the ladder only.';
comment on column tidegate.parked_devices.hung is 'One of its events has hung in this stay.';
comment on column tidegate.parked_devices.deeds is 'How often an operator has said how it goes on: whoever has it in hand begins anew then.';
comment on column tidegate.parked_devices.skip is 'Events up to here, parked_events.n, an operator wants among the dead letters.';

create table tidegate.parked_events (
  consumer_group text collate "C" not null,
  device         text collate "C" not null,
  n              bigint generated always as identity,
  key            bytea not null,
  body           bytea not null,
  properties     json not null,
  headers        json not null,
  routing_key    text not null,
  queue          text not null,
  publisher      text,
  arrived_at     timestamptz not null,
  primary key (consumer_group, device, n),
  unique (consumer_group, key)
);
comment on table tidegate.parked_events is 'What waits, in the order in which it came: the first of each device is the one that fails.';

-- Sums, so that nobody counts events. Who adds to what waits folds what it can have; nobody waits for a row of these.
create table tidegate.parked_counts (
  consumer_group text collate "C" not null,
  device         text collate "C" not null,
  events         integer not null,
  overflowed     boolean not null default false
);
create index parked_counts_device on tidegate.parked_counts (consumer_group, device);
comment on table tidegate.parked_counts is 'How many events wait for each parked device, as sums of its rows; overflowed: what comes is a dead letter, until the device is let go.';
`,
}
