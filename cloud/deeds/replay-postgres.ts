import type { Event } from '../../src/contract/envelope.ts'
import { decodeEvent } from '../../src/contract/codec.ts'
import { TidegateError } from '../../src/errors.ts'
import type { Transaction } from '../database/storage.ts'
import { deedInvalid } from './deed-record.ts'
import type { Deed, LetterFilter, ReplayPreview, ReplayStarted, ReplayState, ReplayStatus } from './deeds.ts'
import { conditionsOf, isOfItsEvent } from '../replays/filter.ts'
import { editedEvent } from '../replays/letter-to-send.ts'
import type { LetterEdit, ReplayPace } from '../replays/replays.ts'

const rampMax = 20

/** @throws TidegateError `DEED_INVALID` */
export function refuseFaultyPace({ ratePerSecond, ramp = [], stopAtShare }: ReplayPace): void {
  if (ratePerSecond !== undefined && !(ratePerSecond >= 0.01 && ratePerSecond <= 100_000))
    throw deedInvalid('a rate is 0.01 to 100,000 a second')
  if (ramp.length > rampMax || !ramp.every((step) => Number.isSafeInteger(step) && step >= 1 && step <= 1e9))
    throw deedInvalid(`a ramp has at most ${rampMax} steps of whole numbers`)
  if (stopAtShare !== undefined && !(stopAtShare >= 0 && stopAtShare <= 1))
    throw deedInvalid('the share to stop at is between 0 and 1')
}

const startSql = `
insert into tidegate.replays (deed, filter, rate, ramp, stop_at_share, state, through, total)
values ($1, $2, $3, $4, $5, 'running', $6, $7) returning replay::float8 as replay`

type LettersRequest = ReplayPace & { filter: LetterFilter }

/** Puts it on record: the replayer of any instance finds it there. */
export async function startReplay(tx: Transaction, deed: Deed<LettersRequest>): Promise<ReplayStarted> {
  const { filter, ratePerSecond, ramp, stopAtShare } = deed.request
  const { sql, values } = conditionsOf(filter, [])
  const counted = await tx.query<{ total: number; through: string }>(
    `select count(*)::float8 as total, coalesce(max(d.letter), 0)::text as through
     from tidegate.dead_letters as d where d.state = 'open' and ${sql}`,
    values,
  )
  const { total, through } = counted.rows[0] ?? { total: 0, through: '0' }
  const { rows } = await tx.query<{ replay: number }>(startSql, [
    deed.key,
    JSON.stringify(filter),
    ratePerSecond,
    ramp,
    stopAtShare,
    through,
    total,
  ])
  return { replay: (rows[0] as { replay: number }).replay, total }
}

export async function stopReplay(tx: Transaction, replay: number): Promise<ReplayState> {
  await tx.query(
    // One that waits for its rate is due now.
    `update tidegate.replays set state = 'stopping', reason = 'stopped by hand',
       claimed_until = case when claim is null and source <> 'start' then null else claimed_until end
     where replay = $1 and state = 'running'`,
    [replay],
  )
  return readReplay(tx, replay)
}

interface ReplayRow {
  replay: number
  state: ReplayStatus
  reason: string | null
  total: number
  sent: number
  resolved: number
  failed: number
  repeats: number
  returned: number
  startedAt: Date
  endedAt: Date | null
}

const readSql = `
select replay::float8 as replay, state, reason, total::float8, sent::float8,
       (r.resolved + coalesce(c.resolved, 0))::float8 as resolved, (r.failed + coalesce(c.failed, 0))::float8 as failed,
       (r.repeats + coalesce(c.repeats, 0))::float8 as repeats, returned::float8, started_at as "startedAt", ended_at as "endedAt"
from tidegate.replays as r
left join lateral (select sum(resolved) as resolved, sum(failed) as failed, sum(repeats) as repeats from tidegate.replay_counts as c
                   where c.replay = r.replay) as c on true
where replay = $1`

export async function readReplay(tx: Transaction, replay: number): Promise<ReplayState> {
  const { rows } = await tx.query<ReplayRow>(readSql, [replay])
  const [row] = rows
  if (!row) throw replayUnknown(replay)
  const { reason, startedAt, endedAt, ...counts } = row
  return {
    ...counts,
    ...(reason !== null && { reason }),
    startedAt: startedAt.toISOString(),
    ...(endedAt && { endedAt: endedAt.toISOString() }),
  }
}

const shownMax = 50

/** Whether a group could be handed an event today. */
type Accepts = (group: string, event: Event) => boolean

/** See `Deeds.preview`. */
export async function previewReplay(
  tx: Transaction,
  filter: LetterFilter,
  accepts: Accepts,
): Promise<ReplayPreview> {
  const { sql, values } = conditionsOf(filter, [])
  const open = `from tidegate.dead_letters as d where d.state = 'open' and ${sql}`
  const ask = async <Row>(text: string): Promise<Row[]> => (await tx.query<Row>(text, values)).rows
  const [counted] = await ask<{ letters: number; unvetted: number }>(
    `select count(*)::float8 as letters, count(*) filter (where not (${isOfItsEvent}))::float8 as unvetted ${open}`,
  )
  return {
    letters: counted?.letters ?? 0,
    unvetted: counted?.unvetted ?? 0,
    byFingerprint: await ask(
      `select d.fingerprint, d.consumer_group as "group", d.code, count(*)::float8 as letters ${open}
       group by 1, 2, 3 order by 4 desc, 1 limit ${shownMax}`,
    ),
    byDevice: await ask(
      `select d.device, count(*)::float8 as letters ${open} and d.device is not null group by 1 order by 2 desc, 1 limit ${shownMax}`,
    ),
    schema: await checkAll(tx, filter, accepts),
    parked: await ask(
      `select p.consumer_group as "group", p.device from tidegate.parked_devices as p
       where exists (select ${open} and d.consumer_group = p.consumer_group and d.device = p.device)
       order by 1, 2 limit ${shownMax}`,
    ),
    heldGroups: await heldGroups(tx, open, values),
  }
}

async function heldGroups(
  tx: Transaction,
  open: string,
  values: readonly unknown[],
): Promise<ReplayPreview['heldGroups']> {
  const { rows } = await tx.query<{ group: string; state: string; reason: string | null }>(
    `select g.consumer_group as "group", g.state, g.reason from tidegate.group_states as g
     where g.state <> 'running' and exists (select ${open} and d.consumer_group = g.consumer_group) order by 1`,
    values,
  )
  return rows.map(({ reason, ...held }) => ({ ...held, ...(reason !== null && { reason }) }))
}

const checkedMax = 10_000
const checkedPage = 50

async function checkAll(
  tx: Transaction,
  filter: LetterFilter,
  accepts: Accepts,
): Promise<ReplayPreview['schema']> {
  let checked = 0
  let accepted = 0
  for (let after = '0'; checked < checkedMax;) {
    const { sql, values } = conditionsOf(filter, [after, checkedPage])
    const { rows } = await tx.query<{ letter: string; group: string; body: Buffer; edit: LetterEdit | null }>(
      `select d.letter::text as letter, d.consumer_group as "group", d.body, d.edit from tidegate.dead_letters as d
       where d.state = 'open' and d.letter > $1::bigint and ${sql} order by d.letter limit $2`,
      values,
    )
    checked += rows.length
    accepted += rows.filter(({ group, body, edit }) => isAccepted(group, body, edit, accepts)).length
    after = rows.at(-1)?.letter ?? after
    if (rows.length < checkedPage) break
  }
  return { checked, accepted, refused: checked - accepted }
}

function isAccepted(group: string, body: Buffer, edit: LetterEdit | null, accepts: Accepts): boolean {
  try {
    const event = decodeEvent(body.toString('utf8'))
    return accepts(group, edit ? editedEvent(event, edit) : event)
  } catch {
    return false
  }
}

function replayUnknown(replay: number): TidegateError {
  return new TidegateError('REPLAY_UNKNOWN', {
    message: `there is no replay ${replay}`,
    retryable: false,
    hint: 'see which there are: tidegate.replays',
  })
}
