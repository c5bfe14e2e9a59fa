import type { Database } from '../database/database-postgres.ts'
import type { GroupState, GroupStates } from './group-states.ts'

const readSql = `
select consumer_group as "group", case when until <= clock_timestamp() and state = 'paused' then 'over' else state end as state,
       extract(epoch from since)::float8 * 1000 as "sinceMs", extract(epoch from until)::float8 * 1000 as "untilMs",
       trips, actor, reason, extract(epoch from clock_timestamp())::float8 * 1000 as "nowMs"
from (select clock_timestamp()) as now left join tidegate.group_states on true`

const pauseSql = `
insert into tidegate.group_states (consumer_group, state, actor, reason, until)
values ($1, 'paused', $2, $3, clock_timestamp() + make_interval(secs => $4::float8 / 1000))
on conflict (consumer_group) do update
  set state = 'paused', since = clock_timestamp(), actor = excluded.actor, reason = excluded.reason, until = excluded.until, trips = 0`

const overSql = `
delete from tidegate.group_states where state = 'paused' and until <= clock_timestamp()`

const tripSql = `
insert into tidegate.group_states (consumer_group, state, actor, reason, until, trips)
values ($1, 'tripped', $2, $3, clock_timestamp() + make_interval(secs => $4::float8 / 1000), 1)
on conflict (consumer_group) do nothing returning 1 as done`

const beginSql = `
update tidegate.group_states
set state = 'trial', since = clock_timestamp(), actor = $2, until = clock_timestamp() + make_interval(secs => $3::float8 / 1000)
where consumer_group = $1 and state in ('tripped', 'trial') and until <= clock_timestamp() returning 1 as done`

const renewSql = `
update tidegate.group_states set until = clock_timestamp() + make_interval(secs => $3::float8 / 1000)
where consumer_group = $1 and state = 'trial' and actor = $2 returning 1 as done`

const yieldSql = `
update tidegate.group_states set until = clock_timestamp()
where consumer_group = $1 and state = 'trial' and actor = $2 returning 1 as done`

const failSql = `
update tidegate.group_states
set state = 'tripped', since = clock_timestamp(), reason = $3, trips = trips + 1,
    until = clock_timestamp() + make_interval(secs => $4::float8 / 1000)
where consumer_group = $1 and state = 'trial' and actor = $2 returning 1 as done`

const endSql = `
delete from tidegate.group_states where consumer_group = $1 and state = 'trial' and actor = $2 returning 1 as done`

const textLengthMax = 500

type Row = Omit<GroupState, 'state' | 'untilMs'> & {
  state: GroupState['state'] | 'over' | null
  untilMs: number | null
  nowMs: number
}

/** In the database, and by its clock: those of instances may differ. */
export function postgresGroupStates(database: Pick<Database, 'query'>): GroupStates {
  const done = async (sql: string, values: readonly unknown[]): Promise<boolean> =>
    (await database.query(sql, values)).length > 0
  return {
    async read() {
      const rows = await database.query<Row>(readSql)
      if (rows.some(({ state }) => state === 'over')) await database.query(overSql)
      const states = rows.flatMap(({ state, untilMs, ...row }): GroupState[] => {
        if (state === null || state === 'over') return []
        const { group, sinceMs, trips, actor, reason } = row
        return [{ group, state, sinceMs, untilMs: untilMs ?? undefined, trips, actor, reason }]
      })
      return { states, nowMs: rows[0]?.nowMs ?? 0 }
    },
    async pause({ group, actor, reason, forMs }) {
      await database.query(pauseSql, [group, text(actor), text(reason), forMs ?? null])
    },
    resume: (group) =>
      done('delete from tidegate.group_states where consumer_group = $1 returning 1 as done', [group]),
    trip: (group, instance, reason, forMs) => done(tripSql, [group, instance, text(reason), forMs]),
    beginTrial: (group, instance, leaseMs) => done(beginSql, [group, instance, leaseMs]),
    renewTrial: (group, instance, leaseMs) => done(renewSql, [group, instance, leaseMs]),
    yieldTrial: (group, instance) => done(yieldSql, [group, instance]),
    failTrial: (group, instance, reason, forMs) => done(failSql, [group, instance, text(reason), forMs]),
    endTrial: (group, instance) => done(endSql, [group, instance]),
  }
}

function text(given: string): string {
  return given.replaceAll('\0', '').slice(0, textLengthMax)
}
