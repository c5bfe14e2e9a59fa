import { createHash } from 'node:crypto'
import { filterToKeep } from '../replays/history-source-postgres.ts'
import { type DeedParts, doOnce } from './deed-record.ts'

const beginSql = `
insert into tidegate.replays (deed, source, filter, state, through, claimed_until, cursor, first_position, total)
select $1, 'start', $2, 'running', 0, 'infinity', to_json(''::text), p.first - 1, greatest(0, p.last - p.first + 1)
from (select coalesce((select position from tidegate.read_events('', null, 1)), 1) as first,
             coalesce((select max(position) from tidegate.events), 0) as last) as p`

/** Puts it on record that a new group begins at the beginning of history: once, whoever else starts it at the same time. */
export async function beginGroup(group: string, parts: DeedParts): Promise<void> {
  const key = keyOf(group)
  const deed = {
    key,
    by: { actor: 'tidegate', roles: [] },
    reason: 'its consumer says from: beginning, and there was no group of this name',
    request: { group },
  }
  await doOnce('begin-group', deed, parts, async (tx) => {
    await tx.query(beginSql, [key, JSON.stringify(filterToKeep({ group }))])
    return { group }
  })
}

/** The same for all instances. */
function keyOf(group: string): string {
  const digits = createHash('sha256').update(`begin-group\n${group}`).digest('hex')
  return digits.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12}).*$/, '$1-$2-$3-$4-$5')
}
