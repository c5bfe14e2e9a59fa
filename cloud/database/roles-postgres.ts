import type { ClientBase } from 'pg'

/** The record: rows that are added and never changed (G8). */
export const ledgerTables = [
  'events',
  'ledger_notes',
  'clock_corrections',
  'epoch_closures',
  'resolutions',
  'admissions',
] as const

/** What the cloud at work does with each of the other tables. */
const workingTables: Readonly<Record<string, string>> = {
  inbox_claims: 'select, insert, delete',
  inbox_groups: 'select, insert',
  inbox_weeks: 'select',
  inbox_former: 'select',
  members: 'select, insert, update, delete',
  drained_queues: 'select, insert',
  // Instances of before, beside this version, still count there.
  rollup_buckets: 'select, insert, update, delete',
  former_rollups: 'select, update',
  covered_rollups: 'select, insert, delete',
  eras: 'select',
  retirements: 'select',
  retired: 'select',
  retired_repeats: 'select',
  attachments: 'select',
  accepted_through: 'select',
  archived: 'select',
  partitions: 'select',
  migrations: 'select',
  gateways: 'select',
  gateway_keys: 'select',
  gateway_names: 'select',
  gateway_devices: 'select',
  failure_groups: 'select, insert, update, delete',
  failure_counts: 'select, insert, delete',
  dead_letters: 'select, insert, update, delete',
  parked_devices: 'select, insert, update, delete',
  parked_events: 'select, insert, update, delete',
  parked_counts: 'select, insert, update, delete',
  deeds: 'select, insert, update (outcome)',
  replays: 'select, insert, update',
  replay_counts: 'select, insert, delete',
  own_ledger: 'select, insert, update',
  unpublished: 'select, insert, update, delete',
  dispositions: 'select',
  tokens: 'select, insert, update, delete',
  group_states: 'select, insert, update, delete',
  projections: 'select, insert, update',
  projection_versions: 'select, insert, update, delete',
  projection_jobs: 'select, insert, update, delete',
  schema_revisions: 'select, insert',
  schema_files: 'select, insert',
  schema_snapshots: 'select, insert',
}

/** Schemas that are published: added to, by the API of the cloud too, and never changed. */
const publishedTables = ['schema_revisions', 'schema_files', 'schema_snapshots'] as const

/** What is no more in the record, and where it is. Written by who owns the tables, and by nobody else (G8). */
const retiredTables = [
  'retirements',
  'retired',
  'retired_repeats',
  'accepted_through',
  'attachments',
  'archived',
] as const

/** Who the gateways are is said by who owns the tables: the cloud at work could else vouch for keys of its own (G8). */
const registryTables = ['gateways', 'gateway_keys', 'gateway_names', 'gateway_devices'] as const

/** `tidegate.typed_…`: what reads a column of a view of an event type. */
const typedFunctions = ['double', 'whole', 'bigint', 'boolean', 'text', 'json', 'instant'] as const

/**
 * Whether deploy/postgres/roles.sql was run in this database, this session may act as the owner, and what there is of Tidegate is the
 * owner's: until it was handed over, it is altered by whoever made it.
 */
const canBecomeOwnerSql = `
select from pg_roles as owner where rolname = 'tidegate_owner'
  and pg_has_role(session_user, oid, 'member') and has_database_privilege(oid, current_database(), 'create')
  and not exists (select from pg_namespace where nspname = 'tidegate' and nspowner <> owner.oid)`

const besideSql = `
select 'create in the database' as beside from pg_database where datname = current_database()
  and (has_database_privilege(oid, 'create') or pg_has_role(datdba, 'member'))
union all select 'create in the schema public' from pg_namespace where nspname = 'public'
  and (has_schema_privilege(oid, 'create') or pg_has_role(nspowner, 'member'))
union all (select 'change tidegate.' || relname from pg_class
  where relnamespace = to_regnamespace('tidegate') and (relname = any($1) or relispartition)
  and (has_table_privilege(oid, 'update, delete, truncate, trigger') or has_any_column_privilege(oid, 'update'))
  order by relname)`

const ownsSql = `
select coalesce(
  (select pg_has_role(nspowner, 'usage') from pg_namespace where nspname = 'tidegate'),
  has_database_privilege(current_database(), 'create')) as owns`

/**
 * Nothing is called from here on but what is PostgreSQL's own: what somebody left in another schema under one of its names would
 * otherwise run with the rights of this session.
 */
export async function trustNoSchema(client: ClientBase): Promise<void> {
  await client.query('set search_path = pg_catalog, pg_temp')
}

/**
 * Acts from here on as the owner of Tidegate's tables, where there is a role for that and the user is a member of it, so that what is
 * made belongs to the role.
 * @returns whether there is such a role, whose fellows are to be given their rights.
 */
export async function becomeOwner(client: ClientBase): Promise<boolean> {
  const hasRoles = (await client.query(canBecomeOwnerSql)).rowCount === 1
  if (hasRoles) await client.query('set role tidegate_owner')
  return hasRoles
}

/** Whether this session may make and alter Tidegate's tables. */
export async function ownsSchema(client: ClientBase): Promise<boolean> {
  const { rows } = await client.query<{ owns: boolean }>(ownsSql)
  return rows[0]?.owns === true
}

/** What this session may do that the running cloud never needs, and that helps whoever has its password to alter the record. */
export async function rightsBeside(client: ClientBase): Promise<string[]> {
  const { rows } = await client.query<{ beside: string }>(besideSql, [
    [...ledgerTables, ...retiredTables, ...registryTables, ...publishedTables],
  ])
  return rows.map(({ beside }) => beside)
}

/** Gives each role what it needs of every table, and takes from it, and from all, what was given beside that. For the owner. */
export async function grantRights(client: ClientBase): Promise<void> {
  await client.query(rightsSql())
}

function rightsSql(): string {
  const ledger = ledgerTables.map((table) => `tidegate.${table}`).join(', ')
  const registry = registryTables.map((table) => `tidegate.${table}`).join(', ')
  const retired = retiredTables.map((table) => `tidegate.${table}`).join(', ')
  const roles = 'tidegate_writer, tidegate_module, tidegate_reader, tidegate_auditor'
  return [
    'begin',
    `revoke all on schema tidegate from ${roles}, public`,
    `revoke all on all tables in schema tidegate from ${roles}, public`,
    `revoke all on all functions in schema tidegate from ${roles}, public`,
    `revoke all on all sequences in schema tidegate from ${roles}, public`,
    `grant usage on schema tidegate to ${roles}`,
    `grant select, insert on ${ledger} to tidegate_writer`,
    ...Object.entries(workingTables).map(
      ([table, rights]) => `grant ${rights} on tidegate.${table} to tidegate_writer`,
    ),
    // What each row of history is given by itself.
    'grant usage on sequence tidegate.event_position to tidegate_writer',
    'grant execute on function tidegate.current_era(), tidegate.prepare_partitions(integer), tidegate.analyze_events(text), tidegate.inbox_group(text), tidegate.prepare_inbox(integer), tidegate.forget_inbox(interval), tidegate.forget_processed(text) to tidegate_writer',
    'grant execute on function tidegate.is_retired(text, text, bigint), tidegate.partitions_standing() to tidegate_writer',
    `grant execute on function tidegate.list_partitions(), tidegate.bucket_gapfill(interval, timestamptz, timestamptz), tidegate.locf(anyelement), tidegate.locf_step(anyelement, anyelement), tidegate.series(text, text, text, interval, timestamptz, timestamptz) to ${roles}`,
    // Reading gives nothing that the tables do not: whoever calls it reads with rights of its own.
    `grant execute on function tidegate.readable_before(), tidegate.check_cursor(text), tidegate.horizon(), tidegate.read_events(text, text[], integer), tidegate.claimed_id(json), tidegate.noted_id(json), tidegate.inbox_key(text, text, text), tidegate.processed(text, text) to ${roles}`,
    // Views of event types read with the rights of whoever asks them.
    `grant execute on function tidegate.event_data(json), ${typedFunctions.map((name) => `tidegate.typed_${name}(jsonb)`).join(', ')} to ${roles}`,
    'grant execute on function tidegate.projection_schema(text, integer, boolean), tidegate.open_projection(text, integer, boolean), tidegate.drop_projection(text, integer, boolean), tidegate.show_rollups(integer) to tidegate_writer',
    'revoke all on schema projection from public',
    'grant usage, create on schema projection to tidegate_writer',
    'grant usage on schema projection to tidegate_reader, tidegate_module',
    `grant select on ${ledger}, tidegate.rollup_buckets, tidegate.rollups, tidegate.series to tidegate_module`,
    'grant select on all tables in schema tidegate to tidegate_reader',
    `grant select on ${ledger}, ${retired}, tidegate.eras, tidegate.migrations, ${registry} to tidegate_auditor`,
    'select tidegate.share_inbox()',
    'commit',
  ].join(';\n')
}
