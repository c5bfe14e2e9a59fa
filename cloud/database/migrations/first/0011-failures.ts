/** What failed for good, on record as what succeeded is (G5). */
export const failures = {
  version: 11,
  name: 'failures',
  sql: `
create table tidegate.failure_groups (
  fingerprint    text collate "C" primary key,
  consumer_group text collate "C" not null,
  code           text not null,
  type           text,
  message        text not null,
  frame          text,
  first_seen     timestamptz not null,
  last_seen      timestamptz not null,
  letters        bigint not null default 0,
  open           bigint not null default 0,
  open_bytes     bigint not null default 0,
  status         text not null default 'open' check (status in ('open', 'muted', 'resolved', 'regressed')),
  first_version  text,
  last_version   text,
  resolved_version text,
  note           text,
  owner          text,
  issue          text,
  changed_at     timestamptz not null default clock_timestamp()
);
create index failure_groups_seen on tidegate.failure_groups (consumer_group, last_seen desc);
comment on table tidegate.failure_groups is
  'Dead letters that have one cause, by what is the same in them. letters (ever), open and open_bytes (bodies) are exact together with failure_counts.';

create table tidegate.failure_counts (
  fingerprint text collate "C" not null,
  letters     bigint not null,
  open        bigint not null,
  open_bytes  bigint not null,
  seen_at     timestamptz not null default clock_timestamp(),
  version     text
);
comment on table tidegate.failure_counts is
  'What is to be added to the counts of failure_groups, by the triggers of dead_letters: nobody who writes a letter waits for another. Folded every few seconds.';

create table tidegate.dead_letters (
  letter          bigint generated always as identity primary key,
  consumer_group  text collate "C" not null,
  key             bytea not null,
  source          text collate "C",
  id              text collate "C",
  type            text collate "C",
  device          text collate "C",
  gateway         text collate "C",
  epoch           text collate "C",
  sequence        bigint,
  body            bytea not null,
  properties      json not null,
  headers         json not null,
  routing_key     text not null,
  queue           text not null,
  publisher       text,
  fingerprint     text collate "C" not null,
  code            text not null,
  message         text not null,
  stack           text,
  attempts        integer not null,
  failures        json not null,
  instance        text not null,
  version         text,
  first_failed_at timestamptz not null,
  last_failed_at  timestamptz not null,
  state           text not null default 'open' check (state in ('open', 'replaying', 'resolved', 'discarded')),
  replays         integer not null default 0,
  replay          bigint,
  edit            json,
  closed_at       timestamptz,
  check ((closed_at is null) = (state in ('open', 'replaying')))
);
create unique index dead_letters_key on tidegate.dead_letters (consumer_group, key) where state in ('open', 'replaying');
create index dead_letters_fingerprint on tidegate.dead_letters (fingerprint, letter);
create index dead_letters_group on tidegate.dead_letters (consumer_group, letter) where state in ('open', 'replaying');
create index dead_letters_id on tidegate.dead_letters (id, source);
create index dead_letters_device on tidegate.dead_letters (device, letter);
create index dead_letters_replay on tidegate.dead_letters (replay, letter) where state = 'replaying';
create index dead_letters_closed on tidegate.dead_letters (closed_at) where closed_at is not null;
comment on table tidegate.dead_letters is
  'Events, and messages that are none, which a group could not process: with their text, why, and what has become of them.';
comment on column tidegate.dead_letters.key is
  'SHA-256 of source and id; of a message that is no event, or none that is believed, of its properties and body. Of one key there is one open letter in a group.';

create function tidegate.count_letters_added() returns trigger language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
  insert into tidegate.failure_counts (fingerprint, letters, open, open_bytes, version)
  select fingerprint, count(*), count(*) filter (where closed_at is null),
         coalesce(sum(octet_length(body)) filter (where closed_at is null), 0), (array_agg(version order by letter desc))[1]
  from added group by fingerprint;
  return null;
end $$;
create function tidegate.count_letters_changed() returns trigger language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
  insert into tidegate.failure_counts (fingerprint, letters, open, open_bytes)
  select fingerprint, 0, sum(sign), sum(sign * bytes)
  from (select fingerprint, -1 as sign, octet_length(body) as bytes from before where closed_at is null
        union all select fingerprint, 1, octet_length(body) from after where closed_at is null) as changed
  group by fingerprint having sum(sign) <> 0 or sum(sign * bytes) <> 0;
  return null;
end $$;
create function tidegate.count_letters_removed() returns trigger language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
  insert into tidegate.failure_counts (fingerprint, letters, open, open_bytes)
  select fingerprint, 0, -count(*), -sum(octet_length(body)) from removed where closed_at is null group by fingerprint;
  return null;
end $$;
create trigger count_added after insert on tidegate.dead_letters
  referencing new table as added for each statement execute function tidegate.count_letters_added();
create trigger count_changed after update on tidegate.dead_letters
  referencing old table as before new table as after for each statement execute function tidegate.count_letters_changed();
create trigger count_removed after delete on tidegate.dead_letters
  referencing old table as removed for each statement execute function tidegate.count_letters_removed();
`,
}
