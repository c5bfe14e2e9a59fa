/** Nobody looks by it any more (0008). For a moment nobody else may look into the table. */
export const inboxBrin = {
  version: 9,
  name: 'inbox-brin',
  sql: `
drop index if exists tidegate.inbox_age;
`,
}
