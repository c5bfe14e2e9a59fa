import type { Migration } from './migration.ts'

/**
 * What the views of event types (docs/SCHEMAS.md, "Views for SQL") read data by. None of these fails, whatever a device has sent: a value that a
 * column cannot hold is null in it, and in no other.
 */
export const typedViews: Migration = {
  version: 25,
  name: 'typed-views',
  sql: String.raw`
create function tidegate.event_data(body json) returns jsonb language plpgsql immutable strict as $$
declare
  body_text text;
begin
  return (body::pg_catalog.jsonb) operator(pg_catalog.->) 'data';
exception when others then
  -- A text of JSON may hold what is no text to PostgreSQL: U+0000, and half of a surrogate pair. Each becomes U+FFFD.
  begin
    -- Behind this a backslash always begins an escape.
    body_text := pg_catalog.replace(body::text, '\\', '\u005c');
    body_text := pg_catalog.replace(body_text, '\u0000', '\ufffd');
    body_text := pg_catalog.regexp_replace(body_text, '\\u[dD][89abAB][0-9a-fA-F]{2}(?!\\u[dD][c-fC-F][0-9a-fA-F]{2})', '\\ufffd', 'g');
    body_text := pg_catalog.regexp_replace(body_text, '(?<!\\u[dD][89abAB][0-9a-fA-F]{2})\\u[dD][c-fC-F][0-9a-fA-F]{2}', '\\ufffd', 'g');
    return (body_text::pg_catalog.jsonb) operator(pg_catalog.->) 'data';
  exception when others then
    return null;
  end;
end
$$;
comment on function tidegate.event_data is
  'The data of an event. What PostgreSQL has no character for is U+FFFD in it; null, if it cannot be read at all. Not parallel safe: it begins a subtransaction.';

create function tidegate.typed_double(value jsonb) returns double precision language sql immutable parallel safe
return case when jsonb_typeof(value) = 'number' then
  case when abs(value::numeric) > 1.7976931348623157e308 then null
       when abs(value::numeric) < 4.94e-324 then 0
       else value::double precision end end;
comment on function tidegate.typed_double is 'A number; null if it is none, or greater than double precision has.';

create function tidegate.typed_whole(value jsonb) returns numeric language sql immutable parallel safe
return case when jsonb_typeof(value) = 'number' then
  case when value::numeric = trunc(value::numeric) then trunc(value::numeric) end end;
comment on function tidegate.typed_whole is 'A whole number of whatever size; null if it is none.';

create function tidegate.typed_bigint(value jsonb) returns bigint language sql immutable parallel safe
return case when jsonb_typeof(value) = 'number' then
  case when value::numeric = trunc(value::numeric) and abs(value::numeric) <= 9223372036854775807 then value::bigint end end;
comment on function tidegate.typed_bigint is 'A whole number; null if it is none, or bigint cannot hold it.';

create function tidegate.typed_boolean(value jsonb) returns boolean language sql immutable parallel safe
return case when jsonb_typeof(value) = 'boolean' then value::boolean end;
comment on function tidegate.typed_boolean is 'true or false; null if it is neither.';

create function tidegate.typed_text(value jsonb) returns text language sql immutable parallel safe
return case when jsonb_typeof(value) = 'string' then value #>> '{}' end;
comment on function tidegate.typed_text is 'A text; null if it is none.';

create function tidegate.typed_json(value jsonb) returns jsonb language sql immutable parallel safe
return nullif(value, 'null'::jsonb);
comment on function tidegate.typed_json is 'Whatever it is; null of JSON is null.';

create function tidegate.typed_instant(value jsonb) returns timestamptz language plpgsql immutable strict as $$
declare
  value_text constant text := value operator(pg_catalog.#>>) '{}';
begin
  if pg_catalog.jsonb_typeof(value) operator(pg_catalog.=) 'string'
    and value_text operator(pg_catalog.~) '^\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)$'
  then
    return value_text::timestamptz;
  end if;
  return null;
exception when others then
  return null;
end
$$;
comment on function tidegate.typed_instant is
  'A time of RFC 3339, to the microsecond; null if it is none, or PostgreSQL has no such day. Its offset is in the text: no setting of the session matters.';
`,
}
