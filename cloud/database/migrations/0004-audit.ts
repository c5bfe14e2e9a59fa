import type { Migration } from './migration.ts'

/** An epoch is one ledger, whatever its gateway was called when it said something about it. */
export const audit: Migration = {
  version: 4,
  name: 'audit',
  sql: `
create index ledger_notes_epoch on tidegate.ledger_notes (epoch, from_sequence);
`,
}
