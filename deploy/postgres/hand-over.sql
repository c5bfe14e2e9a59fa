-- Gives the schema tidegate, and all in it, to tidegate_owner: once, where a cloud made it before there were roles (docs/DATABASE.md, "Roles").
-- As a superuser, in that database, after roles.sql and with the clouds stopped. Nothing else changes hands. Safe to repeat.

set search_path = pg_catalog, pg_temp;

do $$
declare
  one text;
begin
  for one in
    select format('schema %I', nspname) from pg_namespace where nspname = 'tidegate'
    union all
    -- Sequences go with their tables.
    select format('table tidegate.%I', relname) from pg_class
      where relnamespace = to_regnamespace('tidegate') and relkind in ('r', 'p', 'v')
    union all
    select 'routine ' || oid::regprocedure from pg_proc where pronamespace = to_regnamespace('tidegate')
  loop
    execute format('alter %s owner to tidegate_owner', one);
  end loop;
end
$$;
