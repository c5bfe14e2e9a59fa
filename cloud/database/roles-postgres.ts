import type { ClientBase } from 'pg'

/** The record: rows that are added and never changed (G8). */
export const ledgerTables = ['events', 'ledger_notes', 'clock_corrections', 'epoch_closures'] as const

/** What the cloud at work does with each of the other tables. An update of the inbox is the lock that pruning takes. */
const workingTables: Readonly<Record<string, string>> = {
  inbox: 'select, insert, update, delete',
  members: 'select, insert, update, delete',
  drained_queues: 'select, insert',
  rollup_buckets: 'select, insert, update',
  migrations: 'select',
  gateways: 'select',
  gateway_keys: 'select',
  gateway_names: 'select',
}

/** Who the gateways are is said by who owns the tables: the cloud at work could else vouch for keys of its own (G8). */
const registryTables = ['gateways', 'gateway_keys', 'gateway_names'] as const

/** Whether deploy/postgres/roles.sql was run in this database, and this session may act as the owner. */
const canBecomeOwnerSql = `
select from pg_roles where rolname = 'tidegate_owner'
  and pg_has_role(session_user, oid, 'member') and has_database_privilege(oid, current_database(), 'create')`

const ownsSql = `
select coalesce(
  (select pg_has_role(nspowner, 'usage') from pg_namespace where nspname = 'tidegate'),
  has_database_privilege(current_database(), 'create')) as owns`

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

/** Gives each role what it needs of every table, and takes from it what it was given beside that. For the owner. */
export async function grantRights(client: ClientBase): Promise<void> {
  await client.query(rightsSql())
}

function rightsSql(): string {
  const ledger = ledgerTables.map((table) => `tidegate.${table}`).join(', ')
  const registry = registryTables.map((table) => `tidegate.${table}`).join(', ')
  const roles = 'tidegate_writer, tidegate_module, tidegate_reader, tidegate_auditor'
  return [
    'begin',
    `grant usage on schema tidegate to ${roles}`,
    `revoke all on all tables in schema tidegate from ${roles}`,
    `grant select, insert on ${ledger} to tidegate_writer`,
    ...Object.entries(workingTables).map(
      ([table, rights]) => `grant ${rights} on tidegate.${table} to tidegate_writer`,
    ),
    `grant select on ${ledger}, tidegate.rollup_buckets, tidegate.rollups to tidegate_module`,
    'grant select on all tables in schema tidegate to tidegate_reader',
    `grant select on ${ledger}, tidegate.migrations, ${registry} to tidegate_auditor`,
    'commit',
  ].join(';\n')
}
