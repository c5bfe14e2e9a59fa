/** SQL by which a group has processed an event just now. */
export function processedSql(group: string, source: string, id: string): string {
  return `do $$
begin
  execute format('insert into tidegate.%I (key, at_ms, consumer_group) select tidegate.inbox_key(%L, %L), extract(epoch from now() - date_trunc(''week'', now(), ''UTC'')) * 1000, number from tidegate.inbox_group(%L)',
    'inbox_' || to_char(date_trunc('week', now() at time zone 'UTC'), 'YYYYMMDD'), '${source}', '${id}', '${group}');
end
$$`
}
