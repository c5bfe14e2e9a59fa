import type { Database } from '../../database/database-postgres.ts'
import type { Transaction } from '../../database/storage.ts'
import type { ParkingIn } from '../../parking/parking.ts'
import { postgresGroupStates } from '../../protection/group-states-postgres.ts'
import { Refusal } from '../rules/problem.ts'
import { fromMicros, microsOf } from '../reads/where.ts'
import type { GroupChange, Workplace } from '../routes/workplace.ts'
import { postgresTokens } from '../tokens/tokens-postgres.ts'
import type { DoOnce } from './do-once.ts'
import { projectionDeeds } from './projections-postgres.ts'

export interface WorkplaceOptions {
  doOnce: DoOnce
  parkingIn: ParkingIn
}

export function postgresWorkplace({ doOnce, parkingIn }: WorkplaceOptions): Workplace {
  return {
    ...projectionDeeds(doOnce),
    changeGroup: (deed) => doOnce('change-failure-group', deed, (tx) => changeGroup(tx, deed.request)),
    pause: (deed) =>
      doOnce('pause-group', deed, async (tx) => {
        const { group, forMs } = deed.request
        await statesIn(tx).pause({ group, actor: deed.by.actor, reason: deed.reason, forMs })
        return { group }
      }),
    resume: (deed) =>
      doOnce('resume-group', deed, async (tx) => {
        const { group } = deed.request
        if (await statesIn(tx).resume(group)) return { group }
        throw notPaused(group)
      }),
    release: (deed) =>
      doOnce('release-parked', deed, async (tx) => {
        const { group, device, code } = deed.request
        const { devices, working } = await parkingIn(tx).release(group, { device, code })
        if (device !== undefined && devices + working === 0) throw notParked(device, group)
        return { group, devices, inHand: working }
      }),
    skip: (deed) =>
      doOnce('skip-parked', deed, async (tx) => {
        const { group, device, code, what } = deed.request
        const { devices, working } = await parkingIn(tx).skip(group, { device, code }, what)
        if (device !== undefined && devices === 0)
          throw working > 0 ? inHand(device, group) : notParked(device, group)
        return { group, devices, inHand: working }
      }),
    async mintToken(deed, mint) {
      let token: string | undefined
      const outcome = await doOnce('mint-token', deed, async (tx) => {
        const minted = await mint(deed.request, postgresTokens(queryIn(tx)))
        token = minted.token
        return { jti: minted.jti, expiresAt: new Date(minted.expiresAtMs).toISOString() }
      })
      if (token === undefined) throw shownOnce(outcome.jti)
      return { ...outcome, token }
    },
    revokeToken: (deed, untilMs) =>
      doOnce('revoke-token', deed, (tx) => postgresTokens(queryIn(tx)).revoke(deed.request.jti, untilMs)),
  }
}

function queryIn(tx: Transaction): Pick<Database, 'query'> {
  return { query: async (text, values) => (await tx.query<never>(text, values)).rows }
}

const statesIn = (tx: Transaction): ReturnType<typeof postgresGroupStates> => postgresGroupStates(queryIn(tx))

// What is absent stays; null takes it away.
const changeSql = `
update tidegate.failure_groups set
  note = case when $2::json -> 'note' is null then note else $2::json ->> 'note' end,
  owner = case when $2::json -> 'owner' is null then owner else $2::json ->> 'owner' end,
  issue = case when $2::json -> 'issue' is null then issue else $2::json ->> 'issue' end,
  status = coalesce($2::json ->> 'status', status),
  resolved_version = case when $2::json ->> 'status' = 'resolved' then last_version else resolved_version end,
  changed_at = clock_timestamp()
where fingerprint = $1 and ($3 = '*' or changed_at = ${fromMicros(`(case when $3 = '*' then '0' else $3 end)`)})
returning ${microsOf('changed_at')} as version`

async function changeGroup(
  tx: Transaction,
  { fingerprint, change, ifMatch }: { fingerprint: string; change: GroupChange; ifMatch: string },
): Promise<{ fingerprint: string }> {
  if (ifMatch !== '*' && !/^\d{1,18}$/.test(ifMatch)) throw changed(fingerprint)
  const { rowCount } = await tx.query(changeSql, [fingerprint, JSON.stringify(change), ifMatch])
  if (rowCount === 0) throw changed(fingerprint)
  return { fingerprint }
}

function changed(fingerprint: string): Refusal {
  return new Refusal({
    code: 'FAILURE_GROUP_CHANGED',
    status: 412,
    message: `failure group ${fingerprint} is not as you have seen it: somebody else has changed it`,
    hint: 'GET it again, and see whether you still want that',
  })
}

function shownOnce(jti: string): Refusal {
  return new Refusal({
    code: 'TOKEN_SHOWN_ONCE',
    status: 409,
    message: `token ${jti} was minted under this key, and a token is shown once`,
    hint: 'if its answer was lost take it back (tidegate token revoke), and mint another under a new key',
  })
}

function notPaused(group: string): Refusal {
  return new Refusal({
    code: 'GROUP_NOT_PAUSED',
    status: 409,
    message: `${group} is not paused, and has not tripped`,
    hint: 'GET /v1/groups says how groups are',
  })
}

function notParked(device: string, group: string): Refusal {
  return new Refusal({
    code: 'DEVICE_NOT_PARKED',
    status: 404,
    message: `${device} is not parked in ${group}, or its first event has not failed`,
    hint: 'it may have been let go by itself meanwhile; GET the parked devices again',
  })
}

function inHand(device: string, group: string): Refusal {
  return new Refusal({
    code: 'DEVICE_IN_HAND',
    status: 409,
    message: `an event of ${device} in ${group} is being tried at this moment`,
    hint: 'see what comes of it, then ask again under another key',
  })
}
