import type { Migration } from './migration.ts'

/**
 * What is oldest is found without reading what is not. Once rows have taken the place of others a block range holds old and new ones,
 * and BRIN's summary of it never narrows again. Rows of a transaction have one time, and share an entry here: some 7 bytes a row.
 */
export const inboxAge: Migration = {
  version: 8,
  name: 'inbox-age',
  sql: `
drop index tidegate.inbox_age;
create index inbox_age on tidegate.inbox (processed_at);
`,
}
