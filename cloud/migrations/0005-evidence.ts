import type { Migration } from './migration.ts'

/** A note says what it rests on, so that the audit need not believe it as it stands. */
export const evidence: Migration = {
  version: 5,
  name: 'evidence',
  sql: `
alter table tidegate.ledger_notes
  add column event_epoch text collate "C",
  add column body json;
comment on column tidegate.ledger_notes.event_epoch is
  'With gateway and event_sequence: the ledger event that said so. It may be of a later epoch than the one it speaks of.';
comment on column tidegate.ledger_notes.body is
  'Of a duplicate: its wire text, which is stored nowhere else and which the hash chain goes through.';
`,
}
