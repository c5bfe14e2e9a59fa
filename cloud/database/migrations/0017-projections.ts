import type { Migration } from './migration.ts'

/** What is derived from history, in schemas of its own, version beside version (docs/PROJECTIONS.md). */
export const projections: Migration = {
  version: 17,
  name: 'projections',
  sql: `
create schema if not exists projection;
comment on schema projection is
  'What readers of projections ask: a view of the name of each, of the version that is active.';

create table tidegate.projections (
  name        text collate "C" primary key constraint projections_name_check check (name ~ '^[a-z][a-z0-9_]{0,30}$'),
  active      integer not null,
  former      integer,
  switched_at timestamptz not null default clock_timestamp()
);
comment on table tidegate.projections is 'Which version of a projection its view shows, and which it showed before.';

create table tidegate.projection_versions (
  name           text collate "C" not null constraint projection_versions_name_check check (name ~ '^[a-z][a-z0-9_]{0,30}$'),
  version        integer not null constraint projection_versions_version_check check (version between 1 and 9999),
  definition     text not null,
  types          text[] collate "C",
  state          text not null default 'new'
    constraint projection_versions_state_check check (state in ('new', 'building', 'live', 'halted')),
  cursor         text collate "C" not null default '',
  applied        bigint not null default 0,
  cut            text collate "C",
  per_second     double precision,
  lag_seconds    double precision,
  started_at     timestamptz not null default clock_timestamp(),
  live_at        timestamptz,
  advanced_at    timestamptz,
  token          bigint not null default 0,
  holder         text,
  held_until     timestamptz not null default '-infinity',
  halted_at      timestamptz,
  halted_cursor  text collate "C",
  halted_source  text,
  halted_id      text,
  halted_type    text,
  halted_code    text,
  halted_message text,
  skipped        text[] collate "C" not null default '{}',
  primary key (name, version)
) with (fillfactor = 50);
comment on column tidegate.projection_versions.types is 'Of the events that it reads; null: of all.';
comment on column tidegate.projection_versions.skipped is 'Events that somebody has left out, by their cursors.';
comment on table tidegate.projection_versions is
  'How far each version of a projection is, and who works at it: token counts up with each holder, and each transaction is fenced by it.';

create table tidegate.projection_jobs (
  job      uuid primary key,
  name     text collate "C" not null,
  version  integer not null,
  kind     text not null constraint projection_jobs_kind_check check (kind in ('compare', 'rebuild-device')),
  device   text collate "C",
  sample   integer,
  asked_at timestamptz not null default clock_timestamp(),
  ended_at timestamptz,
  outcome  json,
  foreign key (name, version) references tidegate.projection_versions on delete cascade
);
create index on tidegate.projection_jobs (name, version, asked_at);
comment on table tidegate.projection_jobs is 'What the holder of a version is asked to do between two batches.';

create function tidegate.projection_schema(projection text, version integer, scratch boolean default false) returns text language plpgsql immutable
set search_path = pg_catalog, pg_temp as $$
begin
  if projection is null or version is null or projection !~ '^[a-z][a-z0-9_]{0,30}$' or version not between 1 and 9999 then
    raise exception 'there is no projection % %', projection, version using errcode = '22023';
  end if;
  return 'projection_' || projection || '_' || version || case when scratch then '_scratch' else '' end;
end
$$;

-- What has such a name and not this comment is somebody else's.
create function tidegate.is_projection_schema(place text) returns boolean language sql stable
set search_path = pg_catalog, pg_temp as $$
  select exists (select from pg_namespace
    where nspname = place and obj_description(oid, 'pg_namespace') = 'A version of a projection of Tidegate.')
$$;

create function tidegate.open_projection(projection text, version integer, scratch boolean default false) returns text language plpgsql security definer
set search_path = pg_catalog, pg_temp as $$
declare
  place text := tidegate.projection_schema(projection, version, scratch);
begin
  if not exists (select from tidegate.projection_versions as v where v.name = projection and v.version = open_projection.version) then
    raise exception 'there is no projection % %', projection, version using errcode = '22023';
  end if;
  if to_regnamespace(place) is not null then
    if not tidegate.is_projection_schema(place) then
      raise exception 'the schema % is not of a projection', place using errcode = '42P06';
    end if;
    return place;
  end if;
  if (select count(*) from pg_namespace where nspname ~ '^projection_.+_[0-9]+$') >= 100 then
    raise exception 'there are 100 versions of projections: drop one' using errcode = '54000';
  end if;
  execute format('create schema %I', place);
  execute format('comment on schema %I is ''A version of a projection of Tidegate.''', place);
  if exists (select from pg_roles where rolname = 'tidegate_writer') and has_schema_privilege('tidegate_writer', 'projection', 'create') then
    execute format('grant usage, create on schema %I to tidegate_writer', place);
    execute format('grant usage on schema %I to tidegate_reader, tidegate_module', place);
  elsif session_user <> current_user then
    execute format('grant usage, create on schema %I to %I', place, session_user);
  end if;
  return place;
end
$$;
comment on function tidegate.open_projection is
  'Makes the schema of a version of a projection, and can do nothing else.';

create function tidegate.drop_projection(projection text, version integer, scratch boolean default false) returns void language plpgsql security definer
set search_path = pg_catalog, pg_temp as $$
declare
  place text := tidegate.projection_schema(projection, version, scratch);
begin
  if not scratch and exists (
    select from tidegate.projections as p where p.name = projection and p.active = drop_projection.version) then
    raise exception 'version % of % is active', version, projection using errcode = '55006';
  end if;
  if to_regnamespace(place) is null then return; end if;
  if not exists (select from tidegate.projection_versions as v where v.name = projection and v.version = drop_projection.version)
    or not tidegate.is_projection_schema(place) then
    raise exception 'the schema % is not of a projection', place using errcode = '42501';
  end if;
  execute format('drop schema %I cascade', place);
end
$$;
comment on function tidegate.drop_projection is
  'Drops the schema of a version of a projection that is not active, and can do nothing else.';

-- They do as the owner does: who may call them is said by name (roles-postgres.ts).
revoke execute on function tidegate.projection_schema, tidegate.is_projection_schema, tidegate.open_projection, tidegate.drop_projection from public;
`,
}
