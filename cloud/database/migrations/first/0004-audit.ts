/** An epoch is one ledger, whatever its gateway was called when it said something about it. */
export const audit = {
  version: 4,
  name: 'audit',
  sql: `
create index ledger_notes_epoch on tidegate.ledger_notes (epoch, from_sequence);
`,
}
