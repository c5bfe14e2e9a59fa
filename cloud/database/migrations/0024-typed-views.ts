import type { Migration } from './migration.ts'

/**
 * What the views of event types (docs/SCHEMAS.md, "Views for SQL") read data by. None of these fails, whatever a device has sent: a value that a
 * column cannot hold is null in it, and in no other. What is no fault of the data, as memory that the server has not, is told. Patterns are in dollar
 * quotes: no setting of a session (standard_conforming_strings) changes them.
 */
export const typedViews: Migration = {
  version: 24,
  name: 'typed-views',
  sql: String.raw`
create function tidegate.event_data(body json) returns jsonb language plpgsql immutable strict as $$
declare
  body_text text := body::text;
  -- A text stays, and what is no part of one is marked: no JSON has this character in it.
  mark constant text := pg_catalog.chr(1);
  json_text constant text := $re$("(?:[^"\\]|\\.)*")$re$;
begin
  -- 1e131071 is eight bytes, and 131,072 digits once it is printed; no double has so great or so small an exponent.
  if body_text operator(pg_catalog.~) $re$[0-9][eE][+-]?0*[1-9][0-9]{3,}\s*[],}]$re$ then
    body_text := pg_catalog.regexp_replace(body_text, pg_catalog.concat(json_text, $re$|-?[0-9]+(?:\.[0-9]+)?[eE]-0*[1-9][0-9]{3,}$re$), pg_catalog.concat($re$\1$re$, mark), 'g');
    body_text := pg_catalog.replace(pg_catalog.replace(body_text, pg_catalog.concat('"', mark), '"'), mark, '0');
    body_text := pg_catalog.regexp_replace(body_text, pg_catalog.concat(json_text, $re$|-?[0-9]+(?:\.[0-9]+)?[eE][+]?0*[1-9][0-9]{3,}$re$), pg_catalog.concat($re$\1$re$, mark), 'g');
    body_text := pg_catalog.replace(pg_catalog.replace(body_text, pg_catalog.concat('"', mark), '"'), mark, 'null');
  end if;
  return (body_text::pg_catalog.jsonb) operator(pg_catalog.->) 'data';
exception when data_exception or program_limit_exceeded then
  begin
    -- A text of JSON may hold what is no text to PostgreSQL: U+0000, and half of a surrogate pair. Each becomes U+FFFD.
    -- Behind this a backslash always begins an escape.
    body_text := pg_catalog.replace(body_text, $re$\\$re$, $re$\u005c$re$);
    body_text := pg_catalog.replace(body_text, $re$\u0000$re$, $re$\ufffd$re$);
    body_text := pg_catalog.regexp_replace(body_text, $re$\\u[dD][89abAB][0-9a-fA-F]{2}(?!\\u[dD][c-fC-F][0-9a-fA-F]{2})$re$, $re$\\ufffd$re$, 'g');
    body_text := pg_catalog.regexp_replace(body_text, $re$(?<!\\u[dD][89abAB][0-9a-fA-F]{2})\\u[dD][c-fC-F][0-9a-fA-F]{2}$re$, $re$\\ufffd$re$, 'g');
    -- Of a number jsonb has no more than 131,072 digits, 16,383 of them of its fraction; a double has no use for 350. Fractions go
    -- first, so that no fraction is as long as what is taken for too great a number.
    body_text := pg_catalog.regexp_replace(body_text, pg_catalog.concat(json_text, $re$|(\.[0-9]{200}[0-9]{150})[0-9]+$re$), $re$\1\2$re$, 'g');
    body_text := pg_catalog.regexp_replace(body_text, pg_catalog.concat(json_text, $re$|-?[0-9]{200}[0-9]{200,}(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?$re$), pg_catalog.concat($re$\1$re$, mark), 'g');
    body_text := pg_catalog.replace(pg_catalog.replace(body_text, pg_catalog.concat('"', mark), '"'), mark, 'null');
    return (body_text::pg_catalog.jsonb) operator(pg_catalog.->) 'data';
  exception when data_exception or program_limit_exceeded then
    return null;
  end;
end
$$;
comment on function tidegate.event_data is
  'The data of an event. What PostgreSQL has no character for is U+FFFD in it, and a number that jsonb cannot hold null; null, if it cannot be read at all. Not parallel safe: it begins a subtransaction.';

create function tidegate.typed_double(value jsonb) returns double precision language sql immutable parallel safe
return case when jsonb_typeof(value) = 'number' then
  case when abs(value::numeric) > 1.7976931348623158e308 then null
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
  parts text[];
  instant pg_catalog.timestamptz;
  away pg_catalog.interval;
begin
  if pg_catalog.jsonb_typeof(value) operator(pg_catalog.<>) 'string' then
    return null;
  end if;
  -- As the check of date-time has it, src/schemas/formats.ts: of an offset the colon and the minutes may be missing.
  parts := pg_catalog.regexp_match(value operator(pg_catalog.#>>) '{}',
    $re$^([0-9]{4}-[0-9]{2}-[0-9]{2})[Tt\s]([0-9]{2}:[0-9]{2}:[0-9]{2})(?:\.([0-9]+))?(?:[Zz]|([+-])([01][0-9]|2[0-3])(?::?([0-5][0-9]))?)\Z$re$);
  if parts is null then
    return null;
  end if;
  -- PostgreSQL reads no offset beyond 15:59, and no text of much more than a hundred characters.
  instant := pg_catalog.concat(parts[1], 'T', parts[2], '.', pg_catalog.left(parts[3], 9), 'Z')::pg_catalog.timestamptz;
  if parts[4] is null then
    return instant;
  end if;
  away := pg_catalog.make_interval(hours => parts[5]::pg_catalog.int4, mins => coalesce(parts[6], '0')::pg_catalog.int4);
  if parts[4] operator(pg_catalog.=) '+' then
    return instant operator(pg_catalog.-) away;
  end if;
  return instant operator(pg_catalog.+) away;
exception when data_exception then
  return null;
end
$$;
comment on function tidegate.typed_instant is
  'A time of RFC 3339, to the microsecond; null if it is none, or PostgreSQL has no such day. Its offset is in the text: no setting of the session matters.';
`,
}
