import type { Clock, Random } from '../../src/clock.ts'
import { acceptanceType, cloudLedger } from '../../src/contract/event.ts'
import { decodeEvent } from '../../src/contract/codec.ts'
import type { SchemaRegistry } from '../../src/contract/schema-registry.ts'
import { TidegateError } from '../../src/errors.ts'
import type { Storage, Transaction } from '../database/storage.ts'
import type { SchemaCheck } from '../pipeline/schema-check.ts'
import { admittedReading } from './admission.ts'
import type { AcceptRequest, Accepted, Admitted, AdmitRequest, Deed, Deeds } from './deeds.ts'
import { deedInvalid, type DeedParts, doOnce } from './deed-record.ts'
import { discardLetters, editLetter } from './letters-postgres.ts'
import { ownLedgerIn } from './own-ledger-postgres.ts'
import { previewReplay, readReplay, startReplay, stopReplay } from './replay-postgres.ts'

export interface DeedsOptions {
  storage: Storage
  checkSchema: SchemaCheck
  /** What new readings are checked against. */
  schemas: SchemaRegistry
  clock: Clock
  random: Random
  signal: AbortSignal
}

/** PostgreSQL as the record of deeds, and the place of most of their effects. What is to be published for them is left to the replayer and the publishing of admitted events. */
export function postgresDeeds(options: DeedsOptions): Deeds {
  const { storage, checkSchema, signal } = options
  const parts: DeedParts = options
  return {
    replay: (deed) => doOnce('replay', deed, parts, (tx) => startReplay(tx, deed)),
    preview: (filter) => storage.transaction((tx) => previewReplay(tx, filter, checkSchema), signal),
    stopReplay: (deed) => doOnce('stop-replay', deed, parts, (tx) => stopReplay(tx, deed.request.replay)),
    replayState: (replay) => storage.transaction((tx) => readReplay(tx, replay), signal),
    edit: (deed) => doOnce('edit', deed, parts, (tx) => editLetter(tx, deed, checkSchema, parts.clock.now())),
    discard: (deed) => doOnce('discard', deed, parts, (tx) => discardLetters(tx, deed.request.filter)),
    admit: (deed) => admit(deed, options, parts),
    accept: (deed) => acceptLoss(deed, parts),
  }
}

const rejectedSql = `
select body::text as body, disposition from tidegate.events where gateway = $1 and epoch = $2 and sequence = $3`

const admittedSql = `
select e.gateway, e.epoch, e.sequence::float8 as sequence, e.source, e.id, e.type
from tidegate.admissions as a
join tidegate.events as e on e.gateway = $4 and e.epoch = a.admitted_epoch and e.sequence = a.admitted_sequence
where a.gateway = $1 and a.epoch = $2 and a.sequence = $3`

const admitSql = `
insert into tidegate.admissions (gateway, epoch, sequence, admitted_epoch, admitted_sequence, deed)
values ($1, $2, $3, $4, $5, $6)`

const unpublishedSql = `insert into tidegate.unpublished (epoch, sequence) values ($1, $2)`

/** Once: who asks for it again, in whatever deed, is answered with the event that was made of it. */
function admit(
  deed: Deed<AdmitRequest>,
  { schemas, checkSchema }: DeedsOptions,
  parts: DeedParts,
): Promise<Admitted> {
  const { gateway, epoch, sequence } = deed.request
  return doOnce('admit', deed, parts, async (tx) => {
    const place = [gateway, epoch, sequence]
    // Who admits the same waits here, and finds it admitted.
    await tx.query('select pg_advisory_xact_lock(hashtextextended($1, 20))', [place.join('\n')])
    const { rows: before } = await tx.query<Admitted>(admittedSql, [...place, cloudLedger])
    if (before[0]) return before[0]
    const { rows } = await tx.query<{ body: string; disposition: string }>(rejectedSql, place)
    const [row] = rows
    if (row?.disposition !== 'rejected') throw readingUnknown(place.join('/'))
    const candidate = admittedReading(decodeEvent(row.body), deed.request, schemas)
    const nowMs = parts.clock.now()
    const [written] = await ownLedgerIn(tx, parts.random).append(nowMs, [candidate])
    if (!written) throw new Error('nothing was written')
    const { event } = written
    const fault = checkSchema(event)
    if (fault) throw fault
    await tx.query(admitSql, [...place, event.epoch, event.sequence, deed.key])
    await tx.query(unpublishedSql, [event.epoch, event.sequence])
    const { source, id, type } = event
    return { gateway: cloudLedger, epoch: event.epoch, sequence: event.sequence, source, id, type }
  })
}

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
       union all select from tidegate.epoch_closures where epoch = $2 limit 1`,
      [gateway, epoch],
    )
    if (rowCount === 0) throw ledgerUnknown(`${gateway}/${epoch}`)
    await refuseWhatIsThere(tx, deed.request)
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
  (select max(last_sequence) from tidegate.epoch_closures where epoch = $2))::float8 as reached`

const thereSql = `
select e.sequence::float8 as sequence
from unnest($3::bigint[], $4::bigint[]) as r (first, last)
join tidegate.events as e on e.gateway = $1 and e.epoch = $2 and e.sequence between r.first and r.last limit 1`

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

function notMissing(what: string): TidegateError {
  return new TidegateError('ACCEPTANCE_REFUSED', {
    message: `these are not all missing: ${what}`,
    retryable: false,
    hint: 'accept the ranges that tidegate audit calls MISSING, as it prints them',
  })
}

function readingUnknown(place: string): TidegateError {
  return new TidegateError('READING_UNKNOWN', {
    message: `no rejected reading is stored at ${place}`,
    retryable: false,
    hint: `they are in tidegate.events, disposition rejected: gateway, epoch, sequence`,
  })
}

function ledgerUnknown(ledger: string): TidegateError {
  return new TidegateError('ACCEPTANCE_REFUSED', {
    message: `nothing is known of a ledger ${ledger}`,
    retryable: false,
    hint: 'name it as tidegate audit does: GATEWAY/EPOCH',
  })
}
