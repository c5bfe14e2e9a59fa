/** The append-only event store and the ledger's account (G2, G8). Applied migrations are never edited. */
export const history = {
  version: 1,
  name: 'history',
  sql: `
create table tidegate.events (
  position      bigint generated always as identity,
  gateway       text collate "C" not null,
  epoch         text collate "C" not null,
  sequence      bigint not null check (sequence >= 1),
  source        text collate "C" not null,
  id            text collate "C" not null,
  type          text not null,
  subject       text,
  dataschema    text,
  time          timestamptz not null,
  recorded_time timestamptz not null,
  stored_time   timestamptz not null default clock_timestamp(),
  disposition   text not null check (disposition in ('accepted', 'rejected', 'dead')),
  reason        text,
  body          json not null,
  primary key (gateway, epoch, sequence),
  unique (source, id),
  unique (position)
);
comment on table tidegate.events is 'Every event, once, for ever. Append-only.';
comment on column tidegate.events.body is
  'The wire text. Of type json, not jsonb: it is kept character by character, so that the hash chain can be verified.';

create table tidegate.ledger_notes (
  gateway        text collate "C" not null,
  epoch          text collate "C" not null,
  from_sequence  bigint not null check (from_sequence >= 1),
  to_sequence    bigint not null check (to_sequence >= from_sequence),
  reason         text not null,
  chain          text,
  event_sequence bigint not null,
  noted_at       timestamptz not null default clock_timestamp(),
  primary key (gateway, epoch, from_sequence, to_sequence, reason)
);
comment on table tidegate.ledger_notes is
  'Places of the ledger that hold no event here, and why: expired, evicted or lost at the edge, or the duplicate of an event stored under another place.';

create table tidegate.clock_corrections (
  gateway        text collate "C" not null,
  epoch          text collate "C" not null,
  from_sequence  bigint not null,
  to_sequence    bigint not null,
  offset_ms      double precision not null,
  event_sequence bigint not null,
  noted_at       timestamptz not null default clock_timestamp(),
  primary key (gateway, epoch, from_sequence, to_sequence, event_sequence)
);
comment on table tidegate.clock_corrections is
  'recorded_time of these sequences was taken from a clock that was offset_ms behind. Nothing is restamped.';

create table tidegate.epoch_closures (
  gateway        text collate "C" not null,
  epoch          text collate "C" not null,
  last_sequence  bigint not null,
  reason         text not null,
  event_sequence bigint not null,
  noted_at       timestamptz not null default clock_timestamp(),
  primary key (gateway, epoch)
);
comment on table tidegate.epoch_closures is 'Outboxes that were replaced: their epoch ends at or after last_sequence.';

create function tidegate.refuse_change() returns trigger language plpgsql as $$
begin
  raise exception 'tidegate.% is append-only', tg_table_name using errcode = 'insufficient_privilege';
end
$$;
create trigger append_only before update or delete or truncate on tidegate.events
  for each statement execute function tidegate.refuse_change();
create trigger append_only before update or delete or truncate on tidegate.ledger_notes
  for each statement execute function tidegate.refuse_change();
create trigger append_only before update or delete or truncate on tidegate.clock_corrections
  for each statement execute function tidegate.refuse_change();
create trigger append_only before update or delete or truncate on tidegate.epoch_closures
  for each statement execute function tidegate.refuse_change();
`,
}
