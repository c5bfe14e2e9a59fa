import type { Migration } from './migration.ts'

/** Of which devices a gateway may speak (G9). A gateway without a row here may speak of any. */
export const gatewayDevices: Migration = {
  version: 10,
  name: 'gateway-devices',
  sql: `
create table tidegate.gateway_devices (
  gateway text collate "C" not null references tidegate.gateways,
  pattern text collate "C" not null,
  since   timestamptz not null default clock_timestamp(),
  primary key (gateway, pattern)
);
comment on table tidegate.gateway_devices is
  'Of which devices a gateway may speak: an ID, or the beginning of IDs and an asterisk. A gateway without a row may speak of any.';
`,
}
