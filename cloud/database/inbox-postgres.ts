import { hash } from 'node:crypto'
import { textArray, uuidArray } from './arrays-postgres.ts'
import { inboxFault, type InboxMemory, listSql, readWeeks, type Weeks } from './inbox-weeks-postgres.ts'
import type { Statements } from './statements.ts'
import { type Claim, claimKey, type Inbox } from './storage.ts'

/**
 * The inbox by weeks (migration 0018, G4). A claim is made in this week, if none of the weeks that are kept has it; while somebody may be
 * at work who claimed before the border, in the week before as well, which is where the two meet.
 */
export function postgresInbox(statements: Statements, memory: InboxMemory): Inbox {
  async function ask(): Promise<Asked> {
    const weeks = memory.weeks ?? (await readWeeks(statements, memory))
    const known = askedOf.get(weeks) ?? writtenFor(weeks)
    askedOf.set(weeks, known)
    return known
  }

  async function inWeeks(
    group: string,
    claims: readonly Claim[],
    keys: readonly Buffer[],
    statement: (asked: Asked) => [name: string, sql: string],
  ): Promise<string> {
    const keyArray = uuidArray(keys, (key) => key)
    // A border may be passed between the two, or the list of weeks changed, or another server be asked, where a group has another number.
    for (let times = 0; times < 3; times++) {
      const number = await numberOf(group, statements, memory)
      const asked = await ask()
      const { validFromMs, validUntilMs, list, hasFormer } = asked.weeks
      const former = hasFormer ? formerValues(claims) : []
      const values = [number, keyArray, validFromMs, validUntilMs, group, list, ...former]
      const [row] = await statements.run<[boolean | null, string | null]>(...statement(asked), values)
      const [isStill, answer] = row ?? [false, null]
      if (isStill) return answer ?? ''
      memory.forget()
    }
    throw inboxFault('the weeks of the inbox change faster than one can claim')
  }

  async function remembering<T>(work: Promise<T>): Promise<T> {
    try {
      return await work
    } catch (error) {
      // A table may be gone that it remembers.
      memory.forget()
      throw error
    }
  }

  return {
    async claim(group, claims) {
      const keys = claims.map(digest)
      const fresh = await remembering(
        inWeeks(group, claims, keys, ({ claim, name }) => [`inbox-claim-${name}`, claim]),
      )
      return isFresh(keys, fresh)
    },
    async release(group, claims) {
      if (claims.length === 0) return
      // Without a name, so that it is planned each time: by a plan of an empty week it would read the whole of a full one.
      await remembering(inWeeks(group, claims, claims.map(digest), ({ release }) => ['', release]))
    },
  }
}

/** What is asked of these tables. */
interface Asked {
  weeks: Weeks
  /** Tells tables apart: a statement is prepared under one name with one text. */
  name: string
  claim: string
  release: string
}

const askedOf = new WeakMap<Weeks, Asked>()

function writtenFor(weeks: Weeks): Asked {
  const [claim, release] = [claimSql(weeks), releaseSql(weeks)]
  return { weeks, name: hash('sha256', claim + release).slice(0, 16), claim, release }
}

/** Given before the first claim, in a transaction of its own: others of the group wait for no handler, and no failure uses a number up. */
async function numberOf(group: string, statements: Statements, memory: InboxMemory): Promise<number> {
  const read = async (): Promise<number | undefined> =>
    (await statements.run<[number]>('inbox-group', groupSql, [group]))[0]?.[0]
  let number = memory.groups.get(group) ?? (await read())
  if (number === undefined) {
    await memory.aside('select tidegate.inbox_group($1)', [group])
    number = await read()
  }
  if (number === undefined) throw inboxFault(`the group ${group} has no number in the inbox`)
  memory.groups.set(group, number)
  return number
}

const groupSql = 'select number from tidegate.inbox_groups where name = $1'

/** Whether it is still as this process remembers it: the time, who the group is ($1, $5), and the list of weeks. */
const stillSql = `still as materialized (select
  statement_timestamp() >= to_timestamp($3::float8 / 1000) and statement_timestamp() < to_timestamp($4::float8 / 1000)
  and (select name from tidegate.inbox_groups where number = $1::int2) = $5::text
  and ${listSql} = $6::text as ok)`

const isStill = '(select ok from still)'

/**
 * $1 the group's number, $2 keys, $3 and $4 from when until when it is these tables, $5 the group, $6 the list of weeks, $7 and $8 sources
 * and IDs for the table of before. Sorted, so that rival transactions lock in one order and cannot deadlock. Each week is asked by a
 * subquery of its own: as a join it would be read as a whole where it was small when the plan was made.
 */
function claimSql({ own, guard, others, hasFormer }: Weeks): string {
  const conditions = [isStill, ...others.map(unclaimedIn), ...(hasFormer ? [unclaimedBefore] : [])]
  const claimed = hasFormer
    ? 'unnest($2::uuid[], $7::text[], $8::text[]) as claimed (key, source, id)'
    : 'unnest($2::uuid[]) as claimed (key)'
  const first = `${claimed} where ${conditions.join('\n  and ')}`
  const fresh = guard
    ? `guarded as (${insertSql(guard, first)}),\nfresh as (${insertSql(own, 'guarded')})`
    : `fresh as (${insertSql(own, first)})`
  return `with ${stillSql},\n${fresh}\nselect ${isStill}, encode(string_agg(uuid_send(key), ''), 'hex') from fresh`
}

function insertSql({ name, fromMs }: Weeks['own'], from: string): string {
  return `
insert into tidegate.${name} (key, at_ms, consumer_group)
select key, (extract(epoch from statement_timestamp())::float8 * 1000 - ${fromMs})::integer, $1::int2 from ${from}
order by key
on conflict do nothing
returning key`
}

const unclaimedIn = (week: string): string =>
  `(select 1 from tidegate.${week} as o where o.key = claimed.key and o.consumer_group = $1::int2) is null`

const unclaimedBefore = `(select 1 from tidegate.inbox as o
    where o.consumer_group = $5::text and o.source = claimed.source and o.id = claimed.id) is null`

/** The same parameters. A claim of an earlier transaction is in any of the weeks that are kept, or in the table of before. */
function releaseSql({ own, guard, others, hasFormer }: Weeks): string {
  const names = [own.name, ...(guard ? [guard.name] : []), ...others]
  const deletes = [...names.map(deleteSql), ...(hasFormer ? [deleteFormerSql] : [])]
  const steps = deletes.map((sql, index) => `deleted_${index} as (${sql})`)
  return `with ${[stillSql, ...steps].join(',\n')}\nselect ${isStill}, null`
}

const deleteSql = (week: string): string =>
  `delete from tidegate.${week} where ${isStill} and consumer_group = $1::int2 and key = any($2::uuid[])`

const deleteFormerSql = `delete from tidegate.inbox
  where ${isStill} and consumer_group = $5::text and (source, id) in (select * from unnest($7::text[], $8::text[]))`

/** A generation is none of before. */
function formerValues(claims: readonly Claim[]): Buffer[] {
  return [
    textArray(claims, ({ source, generation = '' }) => (generation === '' ? source : undefined)),
    textArray(claims, ({ id }) => id),
  ]
}

/** 16 bytes of it are the key; `tidegate.inbox_key` is the same in SQL. */
function digest(claim: Claim): Buffer {
  return hash('sha256', claimKey(claim), 'buffer')
}

/** `fresh` is the keys of those, 32 hexadecimal digits each. Deleting makes the second of equal ones in one call a repeat of the first. */
function isFresh(keys: readonly Buffer[], fresh: string): boolean[] {
  const left = new Set<string>()
  for (let at = 0; at < fresh.length; at += 32) left.add(fresh.slice(at, at + 32))
  return keys.map((key) => left.delete(key.toString('hex', 0, 16)))
}
