import { byteaArray, textArray } from '../database/arrays-postgres.ts'
import type { Statements } from '../database/statements.ts'
import type { Added, DeadLetter, DeadLetters } from './dead-letters.ts'
import type { Cause } from './fingerprint.ts'
import { isOfItsEventIn } from '../replays/filter.ts'
import { countSettled } from '../replays/replayed-postgres.ts'
import { listedFailuresMax } from './story.ts'

/** Told apart in a consumer group; then by code alone; and what is left is one (G7). */
const causesMax = [1_000, 1_100, 2_147_483_647] as const

// The lock keeps a cause that nobody has met for long from being forgotten meanwhile; who counts into it waits for none of these.
const knownSql = `
select fingerprint from tidegate.failure_groups where fingerprint = any($1::text[])
order by fingerprint for key share`

// Sorted, so that rival transactions wait in one order.
const newCausesSql = `
insert into tidegate.failure_groups
  (fingerprint, consumer_group, code, type, message, frame, first_seen, last_seen, first_version, last_version)
select fingerprint, consumer_group, code, type, message, frame, clock_timestamp(), clock_timestamp(), version, version
from (select *, row_number() over (partition by consumer_group order by fingerprint) as n
      from unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[])
        as s (fingerprint, consumer_group, code, type, message, frame, version)) as asked
where n + (select count(*) from tidegate.failure_groups as there where there.consumer_group = asked.consumer_group) <= $8
order by fingerprint
on conflict (fingerprint) do nothing`

const addSql = `
insert into tidegate.dead_letters
  (consumer_group, key, source, id, type, device, gateway, epoch, sequence, body, properties, headers, routing_key, queue,
   publisher, fingerprint, code, message, stack, attempts, failures, instance, version, first_failed_at, last_failed_at,
   generation)
select consumer_group, key, source, id, type, device, gateway, epoch, sequence::bigint, body, properties::json, headers::json,
       routing_key, queue, publisher, fingerprint, code, message, stack, attempts::integer, failures::json, instance, version,
       first_failed_at::timestamptz, last_failed_at::timestamptz, generation
from unnest($1::text[], $2::bytea[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[], $9::text[],
            $10::bytea[], $11::text[], $12::text[], $13::text[], $14::text[], $15::text[], $16::text[], $17::text[],
            $18::text[], $19::text[], $20::text[], $21::text[], $22::text[], $23::text[], $24::text[], $25::text[], $26::text[],
            $27::text[])
  as s (consumer_group, key, source, id, type, device, gateway, epoch, sequence, body, properties, headers, routing_key, queue,
        publisher, fingerprint, code, message, stack, attempts, failures, instance, version, first_failed_at, last_failed_at, may_be_closed, generation)
where may_be_closed is null or not (${isOfItsEventIn('s')}) or not exists (
  select from tidegate.resolutions as r where r.id = s.id and r.source = s.source and r.consumer_group = s.consumer_group)
order by consumer_group collate "C", key
on conflict (consumer_group, key) where state in ('open', 'replaying') do nothing
returning letter, consumer_group, encode(key, 'hex')`

// What a lane has in its hands for as long as its handler takes is not waited for: its letter is there, and has one failure less in its story.
// What was told before, as of a delivery whose acknowledgement was lost, is told once. Compared as JSON has it: anybody may have written
// a failure, also with what is no text of PostgreSQL's once it is read.
const failedAgainSql = `
with asked as (
  select * from unnest($1::text[], $2::bytea[], $3::text[], $4::text[]) as s (consumer_group, key, failures, last_failed_at)
), there as materialized (
  select d.letter, d.consumer_group, d.key, s.failures::json as failures, s.last_failed_at::timestamptz as last_failed_at
  from tidegate.dead_letters as d join asked as s on d.consumer_group = s.consumer_group collate "C" and d.key = s.key
  where d.state in ('open', 'replaying')
), mine as materialized (
  select letter from tidegate.dead_letters
  where letter = any (array(select letter from there)) and state in ('open', 'replaying')
  order by letter for update skip locked
), told as (
  update tidegate.dead_letters as d set
    last_failed_at = greatest(d.last_failed_at, there.last_failed_at),
    failures = (
      select coalesce(json_agg(one order by part, n), '[]') from (
        select * from (
          select 1 as part, n, one from json_array_elements(d.failures) with ordinality as o (one, n)
          union all
          select 2, n, one from json_array_elements(there.failures) with ordinality as o (one, n)
          where not exists (select from json_array_elements(d.failures) as b (before) where before::text = one::text)
        ) as told order by part desc, n desc limit ${listedFailuresMax}) as newest)
  from there join mine using (letter) where d.letter = there.letter
)
select letter, consumer_group, encode(key, 'hex') from there`

const openSql = `
select encode(key, 'hex') from tidegate.dead_letters
where state in ('open', 'replaying') and consumer_group = $1 and key = any($2::bytea[])`

/** A batch of large bodies goes in several statements of its transaction (G7). */
const statementBytesMax = 8 * 1024 * 1024

type Numbered = [letter: string, group: string, key: string]

export function postgresDeadLetters(statements: Statements): DeadLetters {
  return {
    add: (letters) => add(statements, letters),
    async openOf(group, keys) {
      const asked = byteaArray(keys, (key) => key)
      const rows = await statements.run<[key: string]>('letters-open', openSql, [group, asked])
      return new Set(rows.map(([key]) => key))
    },
    async failedAgain(letters) {
      const numbers = await tellAgain(statements, letters)
      return letters.map((letter) => numbers.get(nameOf(letter)))
    },
  }
}

/** The numbers of those that are there, by name. */
async function tellAgain(
  statements: Statements,
  letters: readonly DeadLetter[],
): Promise<Map<string, number>> {
  const once = [...new Map(letters.map((letter) => [nameOf(letter), letter])).values()]
  const rows = await statements.run<Numbered>('letters-failed-again', failedAgainSql, [
    textArray(once, ({ group }) => group),
    byteaArray(once, ({ key }) => key),
    textArray(once, ({ failures }) => clean(JSON.stringify(failures))),
    textArray(once, ({ lastFailedAt }) => lastFailedAt),
  ])
  return new Map(rows.map(([letter, group, key]) => [`${group} ${key}`, Number(letter)]))
}

async function add(statements: Statements, letters: readonly DeadLetter[]): Promise<Added[]> {
  const fresh = letters.filter(({ sent }) => sent === undefined)
  const again = letters.filter(({ sent }) => sent !== undefined)
  const causes = await causesFor(statements, letters)
  if (again.length > 0)
    await openAgain(statements, again, (letter) => causes.get(letter)?.fingerprint as string)
  const added = fresh.length === 0 ? [] : await addNew(statements, fresh, causes)
  await countSettled(
    statements,
    letters.flatMap(({ counted }) => (counted ? [{ ...counted, outcome: 'failed' as const }] : [])),
  )
  return letters.map((letter) =>
    letter.sent ? { letter: letter.sent.letter, isNew: false } : (added.shift() as Added),
  )
}

async function addNew(
  statements: Statements,
  letters: readonly DeadLetter[],
  causes: ReadonlyMap<DeadLetter, Cause>,
): Promise<Added[]> {
  const once = new Map(letters.map((letter) => [nameOf(letter), letter]))
  const numbers = new Map<string, number>()
  for (const some of chunks([...once.values()])) {
    const rows = await statements.run<Numbered>('letters-add', addSql, columns(some, causes))
    for (const [letter, group, key] of rows) numbers.set(`${group} ${key}`, Number(letter))
  }
  const fresh = new Set(numbers.keys())
  const there = [...once].filter(([name]) => !fresh.has(name)).map(([, letter]) => letter)
  if (there.length > 0) {
    for (const [name, letter] of await tellAgain(statements, there)) numbers.set(name, letter)
  }
  return letters.map((letter) => {
    const name = nameOf(letter)
    return { letter: numbers.get(name), isNew: fresh.delete(name) }
  })
}

// Its body and where it came from stay as they were. Locked by number, as whoever has several letters in hand does.
const openAgainSql = `
with locked as materialized (
  select letter from tidegate.dead_letters where letter = any($2::text[]::bigint[]) order by letter for update
), failed as (
  update tidegate.dead_letters as d set
    state = 'open', replays = d.replays + 1, fingerprint = s.fingerprint, code = s.code, message = s.message, stack = s.stack,
    attempts = s.attempts::integer, failures = s.failures::json, instance = s.instance, version = s.version,
    last_failed_at = s.last_failed_at::timestamptz
  from unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[], $9::text[],
              $10::text[], $11::text[], $12::text[])
    as s (consumer_group, letter, replay, fingerprint, code, message, stack, attempts, failures, instance, version,
          last_failed_at)
  join locked on locked.letter = s.letter::bigint
  where d.letter = locked.letter and d.replay = s.replay::bigint and d.consumer_group = s.consumer_group
    and d.state = 'replaying'
  returning d.replay
)
insert into tidegate.replay_counts (replay, resolved, failed) select replay, 0, count(*) from failed group by replay`

/** Letters whose replay has failed, those of them that are still replaying in it. Each once. */
async function openAgain(
  statements: Statements,
  letters: readonly DeadLetter[],
  fingerprintOf: (letter: DeadLetter) => string,
): Promise<void> {
  const once = [...new Map(letters.map((letter) => [letter.sent?.letter, letter])).values()]
  const texts = (valueOf: (letter: DeadLetter) => string | undefined): Buffer =>
    textArray(once, (letter) => clean(valueOf(letter)))
  await statements.run('replayed-open-again', openAgainSql, [
    texts(({ group }) => group),
    texts(({ sent }) => String(sent?.letter)),
    texts(({ sent }) => String(sent?.replay)),
    texts(fingerprintOf),
    texts(({ code }) => code),
    texts(({ message }) => message),
    texts(({ stack }) => stack),
    texts(({ attempts }) => String(attempts)),
    texts(({ failures }) => JSON.stringify(failures)),
    texts(({ instance }) => instance),
    texts(({ version }) => version),
    texts(({ lastFailedAt }) => lastFailedAt),
  ])
}

/** Which of its causes each letter is counted with: the first that there is room for. */
async function causesFor(
  statements: Statements,
  letters: readonly DeadLetter[],
): Promise<Map<DeadLetter, Cause>> {
  const found = new Map<DeadLetter, Cause>()
  for (const [level, causesThere] of causesMax.entries()) {
    const asked = letters.filter((letter) => !found.has(letter))
    if (asked.length === 0) break
    const wanted = new Map(
      asked.map((letter) => [causeAt(letter, level).fingerprint, { letter, cause: causeAt(letter, level) }]),
    )
    const known = await knownOf(statements, [...wanted.keys()])
    const unknown = [...wanted.values()].filter(({ cause }) => !known.has(cause.fingerprint))
    if (unknown.length > 0) {
      await statements.run('letters-causes', newCausesSql, [
        textArray(unknown, ({ cause }) => cause.fingerprint),
        textArray(unknown, ({ cause }) => cause.group),
        textArray(unknown, ({ cause }) => clean(cause.code)),
        textArray(unknown, ({ cause }) => clean(cause.type)),
        textArray(unknown, ({ cause }) => clean(cause.message)),
        textArray(unknown, ({ cause }) => clean(cause.frame)),
        textArray(unknown, ({ letter }) => clean(letter.version)),
        causesThere,
      ])
      for (const fingerprint of await knownOf(statements, [...wanted.keys()])) known.add(fingerprint)
    }
    for (const letter of asked) {
      const cause = causeAt(letter, level)
      if (known.has(cause.fingerprint)) found.set(letter, cause)
    }
  }
  return found
}

function causeAt({ causes }: DeadLetter, level: number): Cause {
  return causes[Math.min(level, causes.length - 1)] as Cause
}

async function knownOf(statements: Statements, fingerprints: readonly string[]): Promise<Set<string>> {
  const rows = await statements.run<[string]>('letters-known-causes', knownSql, [
    textArray(fingerprints, (fingerprint) => fingerprint),
  ])
  return new Set(rows.map(([fingerprint]) => fingerprint))
}

function* chunks(letters: readonly DeadLetter[]): Generator<readonly DeadLetter[]> {
  let from = 0
  let bytes = 0
  for (const [at, { body }] of letters.entries()) {
    if (at > from && bytes + body.length > statementBytesMax) {
      yield letters.slice(from, at)
      from = at
      bytes = 0
    }
    bytes += body.length
  }
  if (from < letters.length) yield letters.slice(from)
}

function columns(letters: readonly DeadLetter[], causes: ReadonlyMap<DeadLetter, Cause>): Buffer[] {
  const texts = (valueOf: (letter: DeadLetter) => string | undefined): Buffer =>
    textArray(letters, (letter) => clean(valueOf(letter)))
  return [
    texts(({ group }) => group),
    byteaArray(letters, ({ key }) => key),
    texts(({ source }) => source),
    texts(({ id }) => id),
    texts(({ type }) => type),
    texts(({ device }) => device),
    texts(({ gateway }) => gateway),
    texts(({ epoch }) => epoch),
    texts(({ sequence }) => sequence?.toString()),
    byteaArray(letters, ({ body }) => body),
    texts(({ properties }) => JSON.stringify(properties)),
    texts(({ headers }) => JSON.stringify(headers)),
    texts(({ routingKey }) => routingKey),
    texts(({ queue }) => queue),
    texts(({ publisher }) => publisher),
    texts((letter) => causes.get(letter)?.fingerprint),
    texts(({ code }) => code),
    texts(({ message }) => message),
    texts(({ stack }) => stack),
    texts(({ attempts }) => attempts.toString()),
    texts(({ failures }) => JSON.stringify(failures)),
    texts(({ instance }) => instance),
    texts(({ version }) => version),
    texts(({ firstFailedAt }) => firstFailedAt),
    texts(({ lastFailedAt }) => lastFailedAt),
    texts(({ mayBeClosed }) => (mayBeClosed ? 'true' : undefined)),
    texts(({ generation }) => generation),
  ]
}

/** PostgreSQL has no text with NUL in it. Half a surrogate pair becomes U+FFFD on its way into UTF-8; in JSON it is escaped. */
function clean(text: string | undefined): string | undefined {
  return text?.replaceAll('\0', '')
}

function nameOf({ group, key }: DeadLetter): string {
  return `${group} ${key.toString('hex')}`
}
