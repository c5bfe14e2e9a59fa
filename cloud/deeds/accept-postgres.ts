import { acceptanceType, cloudLedger } from '../../src/contract/event.ts'
import { TidegateError } from '../../src/errors.ts'
import type { Transaction } from '../database/storage.ts'
import { isOfItsEvent } from '../replays/filter.ts'
import { deedInvalid, type DeedParts, doOnce } from './deed-record.ts'
import type { AcceptRequest, Accepted, Deed } from './deeds.ts'
import { ownLedgerIn } from './own-ledger-postgres.ts'

/** What has become known to be missing within this may still be on its way, ms. */
const settleMsDefault = 600_000

const rangesMax = 1_000

function isRange({ from, to }: { from: number; to: number }): boolean {
  return Number.isSafeInteger(from) && Number.isSafeInteger(to) && from >= 1 && to >= from
}

/** See `Deeds.accept`. */
export function acceptLoss(deed: Deed<AcceptRequest>, parts: DeedParts): Promise<Accepted> {
  const { gateway, epoch, ranges } = deed.request
  return doOnce('accept', deed, parts, async (tx) => {
    if (ranges.length === 0 || ranges.length > rangesMax)
      throw deedInvalid(`1 to ${rangesMax} ranges can be accepted`)
    if (!ranges.every(isRange)) throw deedInvalid('a range is two sequences, the smaller first')
    const { rowCount } = await tx.query(
      `select from tidegate.events where gateway = $1 and epoch = $2
       union all select from tidegate.ledger_notes where epoch = $2
       union all select from tidegate.epoch_closures where epoch = $2
       union all select from tidegate.retired where gateway = $1 and epoch = $2 limit 1`,
      [gateway, epoch],
    )
    if (rowCount === 0) throw ledgerUnknown(`${gateway}/${epoch}`)
    await refuseWhatIsThere(tx, deed.request)
    await refuseWhatMayCome(tx, deed.request)
    const nowMs = parts.clock.now()
    const [written] = await ownLedgerIn(tx, parts.random).append(nowMs, [
      {
        id: `acceptance-${deed.key}`,
        source: `/gateways/${cloudLedger}`,
        partitionkey: cloudLedger,
        type: acceptanceType,
        time: new Date(nowMs).toISOString(),
        data: { gateway, epoch, ranges, actor: deed.by.actor, reason: deed.reason, deed: deed.key },
      },
    ])
    if (!written) throw new Error('nothing was written')
    return { epoch: written.event.epoch, sequence: written.event.sequence }
  })
}

const reachedSql = `
select greatest(
  (select max(sequence) from tidegate.events where gateway = $1 and epoch = $2),
  (select max(to_sequence) from tidegate.ledger_notes where epoch = $2),
  (select max(last_sequence) from tidegate.epoch_closures where epoch = $2),
  (select max(to_sequence) from tidegate.retired where gateway = $1 and epoch = $2))::float8 as reached`

const thereSql = `
select e.sequence::float8 as sequence
from unnest($3::bigint[], $4::bigint[]) as r (first, last)
join tidegate.events as e on e.gateway = $1 and e.epoch = $2 and e.sequence between r.first and r.last
union all
select greatest(r.first, g.from_sequence)::float8
from unnest($3::bigint[], $4::bigint[]) as r (first, last)
join tidegate.retired as g on g.gateway = $1 and g.epoch = $2 and g.to_sequence >= r.first and g.from_sequence <= r.last limit 1`

/** What is accepted excuses its disappearance for ever: neither what is there, nor what is still to come, may be. */
async function refuseWhatIsThere(tx: Transaction, { gateway, epoch, ranges }: AcceptRequest): Promise<void> {
  const reached =
    (await tx.query<{ reached: number | null }>(reachedSql, [gateway, epoch])).rows[0]?.reached ?? 0
  const beyond = ranges.find(({ to }) => to > reached)
  if (beyond) throw notMissing(`${beyond.to} is behind the end that is known, ${reached}`)
  const { rows } = await tx.query<{ sequence: number }>(thereSql, [
    gateway,
    epoch,
    ranges.map(({ from }) => from),
    ranges.map(({ to }) => to),
  ])
  if (rows[0]) throw notMissing(`${rows[0].sequence} is there`)
}

// What lies behind a range says that it is missing; a note of a range may still be signed, or be shown to be unfounded.
const pendingSql = `
select r.first::float8 as first, r.last::float8 as last
from unnest($3::bigint[], $4::bigint[]) as r (first, last)
where least(
    (select e.stored_time from tidegate.events as e where e.gateway = $1 and e.epoch = $2 and e.sequence > r.last order by e.sequence limit 1),
    (select min(n.noted_at) from tidegate.ledger_notes as n where n.epoch = $2 and n.to_sequence >= r.last),
    (select min(c.noted_at) from tidegate.epoch_closures as c where c.epoch = $2 and c.last_sequence >= r.last)
  ) > clock_timestamp() - $5 * interval '1 ms'
  or exists (select from tidegate.ledger_notes as n where n.epoch = $2 and n.from_sequence <= r.last and n.to_sequence >= r.first
             and n.noted_at > clock_timestamp() - $5 * interval '1 ms')
limit 1`

const heldSql = `
select d.letter::float8 as letter, d.sequence::float8 as sequence, ${isOfItsEvent} as believed from tidegate.dead_letters as d
where d.consumer_group = 'history' and d.state in ('open', 'replaying') and d.gateway = $1 and d.epoch = $2 and (${isOfItsEvent} or not $5)
  and exists (select from unnest($3::bigint[], $4::bigint[]) as r (first, last) where d.sequence between r.first and r.last)
order by believed desc, d.letter limit 1`

/** What may still come is not lost: an acceptance would hide it if it did not. */
async function refuseWhatMayCome(
  tx: Transaction,
  { gateway, epoch, ranges, settleMs = settleMsDefault, disbelieve = false }: AcceptRequest,
): Promise<void> {
  const asked = [gateway, epoch, ranges.map(({ from }) => from), ranges.map(({ to }) => to)]
  const { rows: letters } = await tx.query<Held>(heldSql, [...asked, disbelieve])
  if (letters[0]) throw heldBy(letters[0])
  const { rows } = await tx.query<{ first: number; last: number }>(pendingSql, [...asked, settleMs])
  const [pending] = rows
  if (pending)
    throw mayStillCome(
      `${pending.first}–${pending.last} is known to be missing for less than ${settleMs / 1000} s`,
      'wait until nothing of that gateway lies in queues or its outbox; if you know that it cannot come: --settle 0s',
    )
}

interface Held {
  letter: number
  sequence: number
  believed: boolean
}

/** What was not believed may be the gateway's all the same, as that of one that was registered late; and a forgery must be in nobody's way. */
function heldBy({ letter, sequence, believed }: Held): TidegateError {
  return believed
    ? mayStillCome(
        `letter ${letter} of history holds ${sequence}`,
        `replay it (tidegate dead replay ${letter}), or discard it first`,
      )
    : mayStillCome(
        `letter ${letter} of history says that it is ${sequence}, and was not believed`,
        `see it (tidegate dead show ${letter}): replay it if it is the gateway's; discard it if it is a forgery, or say --disbelieve`,
      )
}

function mayStillCome(what: string, hint: string): TidegateError {
  return new TidegateError('ACCEPTANCE_REFUSED', {
    message: `these may still come: ${what}`,
    retryable: false,
    hint,
  })
}

function notMissing(what: string): TidegateError {
  return new TidegateError('ACCEPTANCE_REFUSED', {
    message: `these are not all missing: ${what}`,
    retryable: false,
    hint: 'accept the ranges that tidegate audit calls MISSING, as it prints them',
  })
}

function ledgerUnknown(ledger: string): TidegateError {
  return new TidegateError('ACCEPTANCE_REFUSED', {
    message: `nothing is known of a ledger ${ledger}`,
    retryable: false,
    hint: 'name it as tidegate audit does: GATEWAY/EPOCH',
  })
}
