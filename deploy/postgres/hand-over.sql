-- Gives the schema tidegate, and all in it, to tidegate_owner, and what there is of projections to the roles that it would belong to: once,
-- where a cloud made it before there were roles (docs/DATABASE.md, "Roles").
-- As a superuser, in that database, after roles.sql and with the clouds stopped. Nothing else changes hands. Safe to repeat.

set search_path = pg_catalog, pg_temp;

do $$
declare
  one text;
begin
  for one in
    select format('schema %I owner to tidegate_owner', nspname) from pg_namespace
      where nspname in ('tidegate', 'projection') or nspname ~ '^projection_.+_[0-9]+$'
    union all
    -- Sequences go with their tables.
    select format('table tidegate.%I owner to tidegate_owner', relname) from pg_class
      where relnamespace = to_regnamespace('tidegate') and relkind in ('r', 'p', 'v')
    union all
    select format('table %I.%I owner to tidegate_writer', nspname, relname) from pg_class join pg_namespace as n on n.oid = relnamespace
      where (nspname = 'projection' or nspname ~ '^projection_.+_[0-9]+$') and relkind in ('r', 'p', 'v')
    union all
    select 'routine ' || oid::regprocedure || ' owner to tidegate_owner' from pg_proc where pronamespace = to_regnamespace('tidegate')
  loop
    execute 'alter ' || one;
  end loop;
  -- The view tidegate.rollups shows it with the rights of its owner.
  for one in
    select format('%I.buckets', nspname) from pg_namespace
      where nspname ~ '^projection_rollups_[0-9]+$' and to_regclass(format('%I.buckets', nspname)) is not null
  loop
    execute 'grant select on ' || one || ' to tidegate_owner';
  end loop;
  for one in select nspname from pg_namespace where nspname ~ '^projection_.+_[0-9]+$' loop
    execute format('grant usage, create on schema %I to tidegate_writer', one);
    execute format('grant usage on schema %I to tidegate_reader, tidegate_module', one);
    execute format('grant select on all tables in schema %I to tidegate_reader, tidegate_module', one);
  end loop;
end
$$;
