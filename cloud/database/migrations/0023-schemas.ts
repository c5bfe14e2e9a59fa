import type { Migration } from './migration.ts'

/**
 * The registry of schemas: each revision is what one apply has added, and the state at a revision is the newest text of each path up to it.
 * Nothing is ever changed or taken out. What is published has one text for good; what is not (`type.yaml`, cases of upcasters) has another
 * row for each later text.
 */
export const schemas: Migration = {
  version: 23,
  name: 'schemas',
  sql: `
create table tidegate.schema_revisions (
  revision   integer primary key check (revision >= 1),
  digest     text not null check (digest ~ '^[0-9a-f]{64}$'),
  deed       uuid not null references tidegate.deeds,
  applied_at timestamptz not null default clock_timestamp()
);
comment on table tidegate.schema_revisions is
  'Revisions of the registry of schemas, each what one apply has added, numbered from 1 without a hole; who did it and why is in deeds. Append-only.';
comment on column tidegate.schema_revisions.digest is
  'SHA-256 of the lines "<sha256>  <path>", sorted by path, of all files of the state at this revision.';

create table tidegate.schema_files (
  path     text collate "C" not null check (length(path) <= 300 and length(split_part(path, '/', 1)) <= 128 and path ~
    '^[A-Za-z0-9][A-Za-z0-9_-]*(\\.[A-Za-z0-9][A-Za-z0-9_-]*)+/(type\\.yaml|[1-9][0-9]{0,5}\\.json|upcast/[1-9][0-9]{0,5}-[1-9][0-9]{0,5}\\.(yaml|js|cases\\.json))$'),
  revision integer not null references tidegate.schema_revisions,
  sha256   text not null check (sha256 = encode(sha256(bytes), 'hex')),
  bytes    bytea not null check (octet_length(bytes) <= 1048576),
  primary key (path, revision)
);
create unique index schema_files_published on tidegate.schema_files (path)
  where path !~ '(/type\\.yaml|\\.cases\\.json)$';
comment on table tidegate.schema_files is
  'Files of the registry of schemas by path, <type>/<version>.json and what lies beside it, with line ends as Unix has them; of one that may change each text since the revision that brought it. Append-only.';

create table tidegate.schema_snapshots (
  revision integer not null references tidegate.schema_revisions,
  sha256   text not null check (sha256 = encode(sha256(bytes), 'hex')),
  bytes    bytea not null check (octet_length(bytes) <= 16777216),
  deed     uuid not null references tidegate.deeds,
  added_at timestamptz not null default clock_timestamp(),
  primary key (revision, sha256)
);
comment on table tidegate.schema_snapshots is
  'States of the registry as gateways take them, signed by whoever has applied them: the key is not here. Append-only.';

-- Whoever may add a revision adds the next one: two that add at once have one number, and one of them waits and fails.
create function tidegate.next_schema_revision() returns trigger language plpgsql security definer
set search_path = pg_catalog, pg_temp as $$
begin
  if new.revision <> (select coalesce(max(revision), 0) + 1 from tidegate.schema_revisions) then
    raise exception 'revision % is not the next one of the registry of schemas', new.revision using errcode = 'check_violation';
  end if;
  return new;
end
$$;
create trigger next_revision before insert on tidegate.schema_revisions
  for each row execute function tidegate.next_schema_revision();

create trigger append_only before update or delete or truncate on tidegate.schema_revisions
  for each statement execute function tidegate.refuse_change();
create trigger append_only before update or delete or truncate on tidegate.schema_files
  for each statement execute function tidegate.refuse_change();
create trigger append_only before update or delete or truncate on tidegate.schema_snapshots
  for each statement execute function tidegate.refuse_change();
`,
}
