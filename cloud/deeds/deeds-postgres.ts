import type { Clock, Random } from '../../src/clock.ts'
import type { Event } from '../../src/contract/envelope.ts'
import { cloudLedger } from '../../src/contract/event.ts'
import { decodeEvent } from '../../src/contract/codec.ts'
import type { SchemaRegistry } from '../../src/schemas/registry.ts'
import { TidegateError } from '../../src/errors.ts'
import type { Storage, Transaction } from '../database/storage.ts'
import type { SchemaCheck } from '../reading/schema-check.ts'
import { acceptLoss } from './accept-postgres.ts'
import { admittedReading } from './admission.ts'
import type {
  Admitted,
  AdmitRequest,
  Deed,
  Deeds,
  GroupKnown,
  ReplayRequest,
  ReplayStarted,
} from './deeds.ts'
import { type DeedParts, doOnce } from './deed-record.ts'
import { discard, tryDiscard } from './discard-postgres.ts'
import { editLetter } from './letters-postgres.ts'
import { ownLedgerIn } from './own-ledger-postgres.ts'
import { previewHistory, resumeHistoryReplay, startHistoryReplay } from './replay-history-postgres.ts'
import { previewReplay, readReplay, refuseFaultyPace, startReplay, stopReplay } from './replay-postgres.ts'

export interface DeedsOptions {
  storage: Storage
  /** Of what a person makes of an event. */
  checkSchema: SchemaCheck
  /** Whether a group could be handed an event today. */
  accepts: (group: string, event: Event) => boolean
  /** What new readings are checked against. */
  schemas: SchemaRegistry
  clock: Clock
  random: Random
  signal: AbortSignal
  /** Of the groups that run here; by default none does. */
  known?: GroupKnown
  /** Nothing stays on its storage. */
  isTrial?: boolean
}

/** PostgreSQL as the record of deeds, and the place of most of their effects. What is to be published for them is left to the replayer and the publishing of admitted events. */
export function postgresDeeds(options: DeedsOptions): Deeds {
  const { storage, checkSchema, accepts, signal, isTrial = false, known = () => undefined } = options
  const parts: DeedParts = options
  return {
    replay: (deed) => doOnce('replay', deed, parts, (tx) => start(tx, deed, known)),
    preview: (filter) => storage.transaction((tx) => previewReplay(tx, filter, accepts), signal),
    previewHistory: (selection, generation) =>
      storage.transaction((tx) => previewHistory(tx, selection, generation, known), signal),
    resumeReplay: (deed) =>
      doOnce('resume-replay', deed, parts, async (tx) => {
        await resumeHistoryReplay(tx, deed.request.replay)
        return readReplay(tx, deed.request.replay)
      }),
    stopReplay: (deed) => doOnce('stop-replay', deed, parts, (tx) => stopReplay(tx, deed.request.replay)),
    replayState: (replay) => storage.transaction((tx) => readReplay(tx, replay), signal),
    edit: (deed) => doOnce('edit', deed, parts, (tx) => editLetter(tx, deed, checkSchema, parts.clock.now())),
    discard: (deed) => (isTrial ? tryDiscard(deed, parts) : discard(deed, parts)),
    admit: (deed) => admit(deed, options, parts),
    accept: (deed) => acceptLoss(deed, parts),
  }
}

function start(tx: Transaction, deed: Deed<ReplayRequest>, known: GroupKnown): Promise<ReplayStarted> {
  const { request } = deed
  refuseFaultyPace(request)
  return request.history
    ? startHistoryReplay(tx, { ...deed, request }, known)
    : startReplay(tx, { ...deed, request })
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

function readingUnknown(place: string): TidegateError {
  return new TidegateError('READING_UNKNOWN', {
    message: `no rejected reading is stored at ${place}`,
    retryable: false,
    hint: `they are in tidegate.events, disposition rejected: gateway, epoch, sequence`,
  })
}
