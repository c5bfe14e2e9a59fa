/** A note says what it rests on, and every closure is recorded, so that the audit need not believe them as they stand. */
export const evidence = {
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

alter table tidegate.epoch_closures
  drop constraint epoch_closures_pkey,
  add primary key (gateway, epoch, last_sequence);
`,
}
