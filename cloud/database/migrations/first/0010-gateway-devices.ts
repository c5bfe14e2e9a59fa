/**
 * Of which devices a gateway may speak (G9). A gateway without a row here may speak of any. Fleets have 100,000 rows: a cloud sees by a
 * version that is new with each change, whoever makes it, and that no restored backup can repeat, whether it has to read them again.
 */
export const gatewayDevices = {
  version: 10,
  name: 'gateway-devices',
  sql: `
create table tidegate.gateway_devices (
  gateway text collate "C" not null references tidegate.gateways,
  pattern text collate "C" not null
          check (pattern ~ '^([A-Za-z0-9][A-Za-z0-9._-]{0,63}|([A-Za-z0-9][A-Za-z0-9._-]{0,62})?\\*)$'),
  since   timestamptz not null default clock_timestamp(),
  primary key (gateway, pattern)
);
comment on table tidegate.gateway_devices is
  'Of which devices a gateway may speak: an ID, or the beginning of IDs and an asterisk. A gateway without a row may speak of any.';

alter table tidegate.gateways add column devices_version uuid;
comment on column tidegate.gateways.devices_version is
  'Another with each change of its rows in gateway_devices, which a cloud then reads anew, and only then. Null: it never had any.';

create function tidegate.note_devices() returns trigger language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
  if tg_op in ('INSERT', 'DELETE') then
    update tidegate.gateways set devices_version = gen_random_uuid() where name in (select gateway from changed);
  else
    update tidegate.gateways set devices_version = gen_random_uuid()
    where devices_version is not null or name in (select gateway from tidegate.gateway_devices);
  end if;
  return null;
end
$$;
create trigger devices_added after insert on tidegate.gateway_devices
  referencing new table as changed for each statement execute function tidegate.note_devices();
create trigger devices_removed after delete on tidegate.gateway_devices
  referencing old table as changed for each statement execute function tidegate.note_devices();
create trigger devices_changed after update or truncate on tidegate.gateway_devices
  for each statement execute function tidegate.note_devices();
`,
}
