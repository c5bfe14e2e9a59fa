/**
 * What is oldest is found without reading what is not. Once rows have taken the place of others a block range holds old and new ones,
 * and BRIN's summary of it never narrows again. Rows of a transaction have one time, and share an entry here: some 7 bytes a row.
 *
 * Claims wait while it is built, and whoever reads does not. An operator may have built it before, concurrently, for which nobody
 * waits; what such a build has left unfinished is built anew. The old index goes in a step of its own: taking it away locks out
 * whoever reads, which must not last for the build.
 */
export const inboxAge = {
  version: 8,
  name: 'inbox-age',
  sql: `
create index if not exists inbox_processed_at on tidegate.inbox (processed_at);
do $$
begin
  if exists (select from pg_catalog.pg_index
             where indexrelid = 'tidegate.inbox_processed_at'::regclass and not indisvalid) then
    reindex index tidegate.inbox_processed_at;
  end if;
end
$$;
`,
}
