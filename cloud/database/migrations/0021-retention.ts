import type { Migration } from './migration.ts'

/**
 * What retention took out of history: ranges of ledgers, so that the audit goes on behind them and a redelivery is known for a repeat.
 * Where such a redelivery would be stored, in the partitions that have what belongs to no week, it is left out; the weeks themselves
 * know nothing of this, and pay nothing for it. An archive that is attached is a table of its own: nothing that takes part in storing.
 */
export const retention: Migration = {
  version: 21,
  name: 'retention',
  sql: `
create table tidegate.retirements (
  retirement uuid primary key references tidegate.deeds,
  partition  text not null,
  from_time  timestamptz not null,
  until_time timestamptz not null,
  file       text not null,
  sha256     text not null,
  events     bigint not null,
  repeats        bigint not null,
  repeats_sha256 text not null,
  retired_at timestamptz not null default clock_timestamp()
);
create index retirements_sha256 on tidegate.retirements (sha256);
comment on table tidegate.retirements is
  'Partitions of events that were archived and dropped, by the deed that did it: the file, its SHA-256, and how many events are in it; repeats: how many in retired_repeats belong to it, and repeats_sha256 the SHA-256 of their SHA-256 in order. Append-only.';

create table tidegate.retired (
  retirement     uuid not null references tidegate.retirements,
  gateway        text collate "C" not null,
  epoch          text collate "C" not null,
  from_sequence  bigint not null,
  to_sequence    bigint not null,
  chain_before   text,
  chain          text not null,
  event_epoch    text collate "C" not null,
  event_sequence bigint not null,
  primary key (gateway, epoch, to_sequence, retirement)
);
create index retired_event on tidegate.retired (event_epoch, event_sequence);
comment on table tidegate.retired is
  'The ranges of ledgers that are in an archive and no more in events; chain is that of to_sequence, chain_before that of the place before from_sequence, if an event was there; event_epoch and event_sequence are where the cloud''s own ledger says so. Append-only.';

create table tidegate.retired_repeats (
  retirement  uuid not null references tidegate.retirements,
  text_sha256 bytea not null,
  primary key (retirement, text_sha256)
);
create index retired_repeats_text on tidegate.retired_repeats (text_sha256);
comment on table tidegate.retired_repeats is
  'Repeats, by the SHA-256 of their text in ledger_notes, whose original was in a partition that is retired: they are believed, and no others. Append-only.';

create table tidegate.accepted_through (
  event_epoch    text collate "C" not null,
  event_sequence bigint not null,
  reached        bigint not null,
  primary key (event_epoch, event_sequence)
);
comment on table tidegate.accepted_through is
  'How far a ledger was known when a loss of it was accepted, by the event that says so: put down before what shows it is dropped. Append-only.';

create trigger append_only before update or delete or truncate on tidegate.retirements
  for each statement execute function tidegate.refuse_change();
create trigger append_only before update or delete or truncate on tidegate.retired
  for each statement execute function tidegate.refuse_change();
create trigger append_only before update or delete or truncate on tidegate.retired_repeats
  for each statement execute function tidegate.refuse_change();
create trigger append_only before update or delete or truncate on tidegate.accepted_through
  for each statement execute function tidegate.refuse_change();

create table tidegate.archived (
  archive       text collate "C" not null,
  position      bigint not null,
  gateway       text collate "C" not null,
  epoch         text collate "C" not null,
  sequence      bigint not null,
  source        text collate "C" not null,
  id            text collate "C" not null,
  type          text not null,
  subject       text,
  dataschema    text,
  time          timestamptz not null,
  recorded_time timestamptz not null,
  stored_time   timestamptz not null,
  disposition   text not null,
  reason        text,
  body          json not null,
  era           integer not null,
  tx            xid8 not null
) partition by list (archive);
comment on table tidegate.archived is
  'Events of the archives that are attached, each archive a partition, by the name of its file. Copies to read: nothing is stored by them, and the files are the record.';

create table tidegate.attachments (
  archive     text primary key,
  partition   text not null,
  sha256      text not null unique,
  events      bigint not null,
  retirement  uuid references tidegate.retirements,
  attached_at timestamptz not null default clock_timestamp()
);
comment on table tidegate.attachments is
  'The archives that are attached now. retirement: the one that made it; null: it is of another database.';

create index ledger_notes_noted on tidegate.ledger_notes (noted_at) where body is not null;

create function tidegate.is_retired(in_gateway text, in_epoch text, in_sequence bigint) returns boolean
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
  select exists (
    select from tidegate.retired as r
    where r.gateway = in_gateway and r.epoch = in_epoch and r.to_sequence >= in_sequence and r.from_sequence <= in_sequence)
$$;
comment on function tidegate.is_retired is 'Whether the event of a place is in an archive, and not in events any more.';

create function tidegate.skip_retired() returns trigger language plpgsql security definer
set search_path = pg_catalog, pg_temp as $$
begin
  if tidegate.is_retired(new.gateway, new.epoch, new.sequence) then
    return null;
  end if;
  return new;
end
$$;
create trigger skip_retired before insert on tidegate.events_other
  for each row execute function tidegate.skip_retired();

create function tidegate.partitions_standing(out weeks_ahead integer, out other_events bigint)
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
  select (select count(*)::int from tidegate.partitions where partition <> 'events_other' and from_time > now()),
         (select count(*) from tidegate.events_other where stored_time > now() - interval '1 day')
$$;
comment on function tidegate.partitions_standing is
  'How many weeks to come have a partition, and how many events of the last day belonged to none.';
`,
}
