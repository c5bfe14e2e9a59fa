/** Who the gateways are: whether they are listened to, the keys they sign their ledgers with, and what they were called before. */
export const gateways = {
  version: 7,
  name: 'gateways',
  sql: `
create table tidegate.gateways (
  name  text collate "C" primary key,
  state text not null default 'active' check (state in ('active', 'suspended')),
  since timestamptz not null default clock_timestamp()
);
comment on table tidegate.gateways is 'Gateways that somebody has registered (tidegate gateways), and since when they are in their state.';

create table tidegate.gateway_keys (
  gateway     text collate "C" not null references tidegate.gateways,
  fingerprint text collate "C" not null,
  public_key  text not null,
  since       timestamptz not null default clock_timestamp(),
  until       timestamptz,
  primary key (gateway, fingerprint)
);
comment on table tidegate.gateway_keys is
  'With which keys a gateway signs its ledger: SubjectPublicKeyInfo in PEM, and its SHA-256. Nothing that is dated after until is believed of a key.';

create table tidegate.gateway_names (
  former  text collate "C" primary key,
  gateway text collate "C" not null references tidegate.gateways,
  since   timestamptz not null default clock_timestamp(),
  check (former <> gateway)
);
comment on table tidegate.gateway_names is
  'What a gateway was called before: under its name of now it may speak of the ledgers of that one.';
`,
}
