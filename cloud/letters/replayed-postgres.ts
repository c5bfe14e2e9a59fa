import type { Statements } from '../database/statements.ts'
import { textArray } from '../database/arrays-postgres.ts'
import type { DeadLetter } from './dead-letters.ts'
import type { Replayed } from './replayed.ts'

// In one order, so that rival transactions cannot deadlock.
const holdSql = `
select letter::float8 from tidegate.dead_letters
where consumer_group = $1 and state = 'replaying'
  and (letter, replay) in (select * from unnest($2::bigint[], $3::bigint[]))
order by letter for update`

const resolveSql = `
with done as (
  update tidegate.dead_letters set state = 'resolved', closed_at = clock_timestamp()
  where letter = any($1::bigint[]) and state = 'replaying'
  returning letter, consumer_group, source, id, replay, edit is not null as edited
), moved as (
  insert into tidegate.replay_counts (replay, resolved, failed)
  select replay, count(*), 0 from done where replay is not null group by replay
)
insert into tidegate.resolutions (letter, consumer_group, source, id, outcome, edited, replay)
select letter, consumer_group, source, id, 'resolved', edited, replay from done
where source is not null and id is not null`

// Its body and where it came from stay as they were.
const openAgainSql = `
with failed as (
  update tidegate.dead_letters as d set
    state = 'open', replays = d.replays + 1, fingerprint = s.fingerprint, code = s.code, message = s.message, stack = s.stack,
    attempts = s.attempts::integer, failures = s.failures::json, instance = s.instance, version = s.version,
    last_failed_at = s.last_failed_at::timestamptz
  from unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[], $9::text[],
              $10::text[], $11::text[], $12::text[])
    as s (consumer_group, letter, replay, fingerprint, code, message, stack, attempts, failures, instance, version,
          last_failed_at)
  where d.letter = s.letter::bigint and d.replay = s.replay::bigint and d.consumer_group = s.consumer_group
    and d.state = 'replaying'
  returning d.replay
)
insert into tidegate.replay_counts (replay, resolved, failed) select replay, 0, count(*) from failed group by replay`

/** Letters whose replay has failed, those of them that are still replaying in it. Each once. */
export async function openAgain(
  statements: Statements,
  letters: readonly DeadLetter[],
  fingerprintOf: (letter: DeadLetter) => string,
): Promise<void> {
  const once = [...new Map(letters.map((letter) => [letter.sent?.letter, letter])).values()]
  const texts = (valueOf: (letter: DeadLetter) => string | undefined): Buffer =>
    textArray(once, (letter) => valueOf(letter)?.replaceAll('\0', ''))
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

export function replayedIn(statements: Statements): Replayed {
  return {
    async hold(group, letters) {
      const rows = await statements.run<[number]>('replayed-hold', holdSql, [
        group,
        letters.map(({ letter }) => letter),
        letters.map(({ replay }) => replay),
      ])
      return new Set(rows.map(([letter]) => letter))
    },
    async resolve(letters) {
      await statements.run('replayed-resolve', resolveSql, [letters])
    },
  }
}
