-- Who may do what in Tidegate's database. As a superuser, in that database, before `tidegate cloud --migrate`, which makes the tables and
-- gives these roles their rights to them (docs/DATABASE.md, "Roles"):
--
--     psql -d tidegate -f roles.sql
--
-- Nobody logs in as one of these: give each login the role that it needs, and the right to connect to this database, since roles are those of
-- every database of the server. Safe to repeat.

set search_path = pg_catalog, pg_temp;

do $$
declare
  wanted text;
begin
  foreach wanted in array array[
    'tidegate_owner',   -- owns the schema: the steps of `tidegate cloud --migrate`, and nobody at other times
    'tidegate_writer',  -- the cloud: adds to the record, and can change nothing in it
    'tidegate_module',  -- your own consumers: reads the record, and has what you grant it in a schema of yours
    'tidegate_reader',  -- dashboards and questions: reads all
    'tidegate_auditor'  -- `tidegate audit`: reads the record
  ] loop
    if not exists (select from pg_roles where rolname = wanted) then
      execute format('create role %I nologin', wanted);
    end if;
  end loop;
  execute format('grant create on database %I to tidegate_owner', current_database());
  execute format('revoke connect on database %I from public', current_database());
end
$$;

-- Consumers run in the cloud's transaction: what they may, the cloud's user must be able to.
grant tidegate_module to tidegate_writer;

-- What one leaves there under a name of PostgreSQL's own, others might call. (Every database of before PostgreSQL 15 lets all create there.)
revoke create on schema public from public;
