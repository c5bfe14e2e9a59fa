import { createHash } from 'node:crypto'
import { textArray, uuidArray } from './arrays-postgres.ts'
import { type InboxMemory, readWeeks, weekMs, type Weeks } from './inbox-weeks-postgres.ts'
import type { Statements } from './statements.ts'
import { type Claim, claimKey, type Inbox } from './storage.ts'

/**
 * The inbox by weeks (migration 0018, G4). A claim is made in this week, if none of the weeks that are kept has it; while somebody may be
 * at work who claimed before the border, in the week before as well, which is where the two meet.
 */
export function postgresInbox(statements: Statements, memory: InboxMemory): Inbox {
  /** Those by which this transaction has claimed. */
  let weeks: Weeks | undefined

  async function claimIn(tables: Weeks, group: number, keys: readonly Buffer[], claims: readonly Claim[]) {
    const [row] = await statements.run<[boolean, string | null]>(nameOf('claim', tables), claimSql(tables), [
      group,
      uuidArray(keys, (key) => key),
      tables.validFromMs,
      tables.validUntilMs,
      ...(tables.hasFormer ? formerValues(claims) : []),
    ])
    const [isValid, fresh] = row ?? [false, null]
    return isValid ? (fresh ?? '') : undefined
  }

  return {
    async claim(group, claims) {
      const number = await numberOf(group, statements, memory)
      const keys = claims.map(digest)
      // The clock may pass a border between the two.
      for (let asked = 0; asked < 3; asked++) {
        weeks = asked === 0 && memory.weeks ? memory.weeks : await readWeeks(statements, memory)
        const fresh = await claimIn(weeks, number, keys, claims)
        if (fresh !== undefined) return isFresh(keys, fresh)
      }
      throw new Error('the clock of the database passes weeks faster than one can claim')
    },
    async release(group, claims) {
      if (weeks === undefined) return
      await statements.run(nameOf('release', weeks), releaseSql(weeks), [
        await numberOf(group, statements, memory),
        uuidArray(claims.map(digest), (key) => key),
      ])
    },
  }
}

async function numberOf(group: string, statements: Statements, memory: InboxMemory): Promise<number> {
  const known = memory.groups.get(group)
  if (known !== undefined) return known
  const [row] = await statements.run<[number, boolean]>('inbox-group', groupSql, [group])
  const [number, isNew] = row as [number, boolean]
  // What this transaction has given may be taken back.
  if (!isNew) memory.groups.set(group, number)
  return number
}

const groupSql = 'select number, is_new from tidegate.inbox_group($1)'

/** What tells tables apart is in the name: a statement is prepared under one name with one text. */
function nameOf(verb: string, { own, guard, others, hasFormer }: Weeks): string {
  const text = createHash('sha256')
    .update([own, guard, ...others, hasFormer].join())
    .digest('hex')
  return `inbox-${verb}-${text.slice(0, 16)}`
}

/**
 * $1 the group, $2 keys, $3 and $4 from when until when these are the tables, $5 and $6 sources and IDs for the table of before. Sorted, so that rival transactions lock
 * in one order and cannot deadlock. Each week is asked by a subquery of its own: as a join it would be read as a whole where it was small
 * when the plan was made.
 */
function claimSql({ own, ownFromMs, guard, others, hasFormer }: Weeks): string {
  const asked = others.map(
    (week) =>
      `(select 1 from tidegate.${week} as o where o.key = claimed.key and o.consumer_group = $1::int2) is null`,
  )
  if (hasFormer)
    asked.push(`(select 1 from tidegate.inbox as o where o.consumer_group = (select name from tidegate.inbox_groups where number = $1::int2)
      and o.source = claimed.source and o.id = claimed.id) is null`)
  const claimed = hasFormer
    ? 'unnest($2::uuid[], $5::text[], $6::text[]) as claimed (key, source, id)'
    : 'unnest($2::uuid[]) as claimed (key)'
  const isValid = `statement_timestamp() >= to_timestamp($3::float8 / 1000) and statement_timestamp() < to_timestamp($4::float8 / 1000)`
  const where = [isValid, ...asked].join('\n  and ')
  const atMs = (fromMs: number): string =>
    `(extract(epoch from statement_timestamp())::float8 * 1000 - ${fromMs})::integer`
  const into = (week: string, from: string, fromMs: number): string => `
insert into tidegate.${week} (key, at_ms, consumer_group)
select key, ${atMs(fromMs)}, $1::int2 from ${from}
order by key
on conflict do nothing
returning key`
  const first = into(
    guard ?? own,
    `${claimed}\nwhere ${where}`,
    guard === undefined ? ownFromMs : ownFromMs - weekMs,
  )
  const fresh =
    guard === undefined
      ? `fresh as (${first})`
      : `guarded as (${first}),\nfresh as (${into(own, 'guarded', ownFromMs)})`
  return `with ${fresh}\nselect ${isValid}, encode(string_agg(uuid_send(key), ''), 'hex') from fresh`
}

function releaseSql({ own, guard }: Weeks): string {
  const from = (week: string): string =>
    `delete from tidegate.${week} where consumer_group = $1::int2 and key = any($2::uuid[])`
  return guard === undefined ? from(own) : `with guarded as (${from(guard)}) ${from(own)}`
}

/** A generation is none of before. */
function formerValues(claims: readonly Claim[]): Buffer[] {
  return [
    textArray(claims, ({ source, generation = '' }) => (generation === '' ? source : undefined)),
    textArray(claims, ({ id }) => id),
  ]
}

/** 16 bytes of it are the key; `tidegate.inbox_key` is the same in SQL. */
function digest(claim: Claim): Buffer {
  return createHash('sha256').update(claimKey(claim)).digest()
}

/** `fresh` is the keys of those, 32 hexadecimal digits each. Deleting makes the second of equal ones in one call a repeat of the first. */
function isFresh(keys: readonly Buffer[], fresh: string): boolean[] {
  const left = new Set(fresh.match(/.{32}/g))
  return keys.map((key) => left.delete(key.toString('hex', 0, 16)))
}
