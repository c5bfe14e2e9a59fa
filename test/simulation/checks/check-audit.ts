import { isDeepStrictEqual } from 'node:util'
import type { AuditedEvent } from '../../../cloud/audit/event.ts'
import type { AuditedNote, NoteProof } from '../../../cloud/audit/notes.ts'
import { auditLedger } from '../../../cloud/audit/audit.ts'
import type { AuditedClosure, LedgerReport, LedgerState } from '../../../cloud/audit/ledger.ts'
import { signedThrough as readSignatures } from '../../../cloud/audit/signatures.ts'
import type { LedgerNote } from '../../../cloud/history/history.ts'
import type { GatewayKey } from '../../../cloud/gateways/registry.ts'
import { type Checkpoint, checkpointType } from '../../../src/contract/checkpoint.ts'
import { claimedChain, decodeEvent, encodeEvent, genesis } from '../../../src/contract/codec.ts'
import { type Event, ledgerType } from '../../../src/contract/event.ts'
import { type TestSigner, testSigner } from '../../support/fakes/signer.ts'
import { gatewaySigner } from '../parts/gateway.ts'
import { placeOf } from '../parts/transaction.ts'
import { gatewayName } from '../plan/settings.ts'
import { checkRetention, type Left } from './check-retention.ts'
import type { World } from './world-view.ts'

const keys = [keyOf(gatewaySigner)]
const thief = testSigner(2)

function keyOf({ key, publicKey }: TestSigner): GatewayKey {
  return {
    gateway: gatewayName,
    fingerprint: key,
    publicKey: publicKey.export({ type: 'spki', format: 'pem' }).toString(),
    sinceMs: 0,
    untilMs: null,
  }
}

const forgedEpoch = '01JGFJJZ05TESTTESTTESTTEST'

async function* none(): AsyncGenerator<AuditedNote> {}

async function* stream<T>(items: readonly T[]): AsyncGenerator<T> {
  yield* items
}

/** G8: the audit that an operator would run finds nothing, and has seen everything. */
export async function checkAudit({ database, truth, journal, gateway, plan }: World): Promise<void> {
  const isSigned = plan.settings.signsEvery !== undefined
  const lasts = new Map<string, number>()
  for (const { epoch, sequence } of truth.places.values()) {
    lasts.set(epoch, Math.max(sequence, lasts.get(epoch) ?? 0))
  }
  for (const [epoch, last] of lasts) {
    const states: LedgerState[] = []
    const auditFrom = (from?: LedgerState): Promise<LedgerReport> =>
      auditLedger({
        gateway: gatewayName,
        epoch,
        from,
        onState: from ? undefined : (state) => void states.push(state),
        statesEvery: 10,
        chainAt: (sequence) => chainAt(epoch, sequence),
        events: events(epoch, from?.next),
        notes: notes(epoch, from?.next),
        closures: closures(),
        mayBeSpokenOfBy: (gateway) => gateway === gatewayName,
        keys: isSigned ? keys : [],
        signedThrough,
      })
    const report = await auditFrom()
    for (const at of new Set([states.at(0), states.at(states.length / 2), states.at(-1)])) {
      const goneOn = at && { ...(await auditFrom(at)), readFrom: 1, unread: 0 }
      if (goneOn && !isDeepStrictEqual(goneOn, report))
        journal.violate(
          'G8',
          `the audit that goes on from ${at.next} says something else than that of the whole`,
        )
    }
    if (isSigned) await checkSigned(epoch, report)
    const { lastSequence, gaps, faults, unverifiedLinks } = report
    // The signature of a report may be what damage took; then the report is not believed (G8, where it ends).
    const mayLackSignatures = isSigned && truth.wasTorn
    const onlyUnfounded = faults.length > 0 && faults.every(({ kind }) => kind === 'unfounded')
    if (mayLackSignatures && onlyUnfounded) continue
    if (report.ok) await checkRetired(epoch, report)
    if (!report.ok) {
      journal.violate('G8', `the audit alarms: ${gaps.count} missing, ${JSON.stringify(faults.slice(0, 3))}`)
    }
    // What damage took after it had been told of is in the ledger as lost; what nobody was told of may not be.
    const lastTaken = Math.max(last, ...truth.damaged.filter((one) => one.epoch === epoch).map(sequenceOf))
    if (lastSequence < last || lastSequence > lastTaken)
      journal.violate('G8', `the audit ends at ${lastSequence}, the ledger at ${last}`)
    if (lastTaken === last && unverifiedLinks > arrivedAllTheSame(epoch))
      journal.violate('G8', `${unverifiedLinks} links of the chain cannot be followed`)
  }

  function violate(what: string): void {
    journal.violate('G8', what)
  }

  async function checkRetired(epoch: string, whole: LedgerReport): Promise<void> {
    const all: AuditedEvent[] = []
    for await (const event of events(epoch)) all.push(event)
    const audit = ({ events: left, retired }: Left): Promise<LedgerReport> =>
      auditLedger({
        gateway: gatewayName,
        epoch,
        events: stream(left),
        notes: notes(epoch),
        closures: closures(),
        mayBeSpokenOfBy: (gateway) => gateway === gatewayName,
        keys: isSigned ? keys : [],
        signedThrough,
        retired,
      })
    await checkRetention({ gateway: gatewayName, epoch, events: all, whole, audit, violate })
  }

  /** All is signed when the gateway says so, and what somebody writes anew, with correct hashes, is not taken for signed. */
  async function checkSigned(epoch: string, { signed, unsignedEvents }: LedgerReport): Promise<void> {
    const stats = gateway.outbox?.stats()
    const isQuiet = stats?.epoch === epoch && stats.unsigned?.events === 0
    // What was lost may have been the newest signature, and what it signs a repeat, which is in a note and no event.
    const hasRepeats = [...database.notes.values()].some(
      (note) => note.epoch === epoch && note.reason === 'duplicate',
    )
    if (isQuiet && !hasRepeats && !truth.wasTorn && unsignedEvents > 0)
      journal.violate('G8', `${unsignedEvents} events are not signed, and the gateway says that all are`)
    if (signed === null) return
    await checkExcuses(epoch, signed.sequence)
    for (const forger of ['rewrites', 'signs'] as const) {
      const forged = await auditLedger({
        gateway: gatewayName,
        epoch,
        events: forgedEvents(epoch, forger),
        notes: none(),
        closures: new Map(),
        mayBeSpokenOfBy: () => false,
        keys,
      })
      if (forged.signed !== null)
        journal.violate('G8', `the audit believes an epoch that somebody ${forger} anew`)
    }
  }

  async function chainAt(epoch: string, sequence: number): Promise<string | undefined> {
    const stored = database.events.get(placeOf({ gateway: gatewayName, epoch, sequence }))
    return stored && claimedChain(stored.body)
  }

  function signedThrough({ epoch }: { epoch: string }): Promise<number> {
    async function* checkpoints(): AsyncGenerator<AuditedEvent> {
      const all: AuditedEvent[] = []
      for await (const event of events(epoch)) if (event.type === checkpointType) all.push(event)
      yield* all.toReversed()
    }
    const own = isSigned ? keys : []
    return readSignatures({
      gateway: gatewayName,
      epoch,
      keys: own,
      checkpoints: checkpoints(),
      chainAt: (sequence) => chainAt(epoch, sequence),
    })
  }

  /** Somebody removes a signed event and excuses that: in an epoch that he makes up, or in what he has written anew before it. */
  async function checkExcuses(epoch: string, through: number): Promise<void> {
    const all: AuditedEvent[] = []
    for await (const event of events(epoch)) all.push(event)
    const at = all.findIndex(({ sequence }, index) => sequence === index + 1 && index > 0)
    const gone = all[at]
    if (gone === undefined || gone.sequence >= through) return
    const range = {
      from: gone.sequence,
      to: gone.sequence,
      reason: 'evicted',
      chain: claimedChain(gone.body),
    }
    const first = all[0] as AuditedEvent
    for (const where of [epoch, forgedEpoch]) {
      const { chain: _, ...open } = JSON.parse(first.body) as Event
      const data = { kind: 'undelivered', epoch, ranges: [range] }
      const { text: body } = encodeEvent(
        { ...open, epoch: where, type: ledgerType, data },
        genesis(gatewayName, where),
      )
      const cites = { gateway: gatewayName, epoch: where, sequence: 1 }
      const excuse = { ...range, cites, notedMs: 0, proof: { body } }
      const left = all.filter((event) => event !== gone)
      const forged = await auditLedger({
        gateway: gatewayName,
        epoch,
        events: stream(where === epoch ? [{ ...first, type: ledgerType, body }, ...left.slice(1)] : left),
        notes: stream([excuse]),
        closures: new Map(),
        mayBeSpokenOfBy: () => true,
        keys,
        signedThrough,
      })
      if (forged.undelivered['evicted'] !== undefined)
        journal.violate('G8', `the audit believes an excuse that somebody has written into ${where}`)
    }
  }

  /** All events up to the first that is missing, each a little later than it was, and chained anew; `signs`: and signed, with a key that is not the gateway's. */
  async function* forgedEvents(epoch: string, forger: 'rewrites' | 'signs'): AsyncGenerator<AuditedEvent> {
    let chain = genesis(gatewayName, epoch)
    let before: Event | undefined
    for await (const event of events(epoch)) {
      if (event.sequence !== (before?.sequence ?? 0) + 1) return
      const { chain: _, ...open } = JSON.parse(event.body) as Event
      const recordedtime = new Date(Date.parse(open.recordedtime) + 1).toISOString()
      const anew = { ...open, recordedtime }
      if (forger === 'signs' && event.type === checkpointType && before) {
        const { sequence } = before
        const head = { ...(anew.data as Checkpoint), sequence, chain }
        anew.data = { ...head, signature: await thief.sign(gatewayName, head) }
      }
      const { text, chain: next } = encodeEvent(anew, chain)
      chain = next
      before = { ...anew, chain }
      yield { ...event, body: text, recordedMs: event.recordedMs + 1 }
    }
  }

  /** Evicted or expired after the broker had it without saying so: it parts a range whose chain is that of its end. */
  function arrivedAllTheSame(epoch: string): number {
    const known = [...database.notes.values()].filter((note) => note.epoch === epoch)
    return [...database.events.values()].filter(
      (event) =>
        event.epoch === epoch && known.some(({ from, to }) => from <= event.sequence && event.sequence <= to),
    ).length
  }

  function closures(): Map<string, AuditedClosure> {
    const known = [...database.closures.values()].toSorted((a, b) => a.lastSequence - b.lastSequence)
    return new Map(known.map(({ epoch, lastSequence: last }) => [epoch, { last, notedMs: 0 }]))
  }

  async function* events(epoch: string, from = 1): AsyncGenerator<AuditedEvent> {
    const records = [...database.events.values()].filter(
      (record) => record.epoch === epoch && record.sequence >= from,
    )
    for (const record of records.toSorted((a, b) => (placeOf(a) < placeOf(b) ? -1 : 1))) {
      yield { ...record, storedMs: record.recordedMs }
    }
  }

  async function* notes(epoch: string, from = 1): AsyncGenerator<AuditedNote> {
    const known = [...database.notes.values()].filter((note) => note.epoch === epoch && note.from >= from)
    for (const note of known.toSorted((a, b) => a.from - b.from)) {
      const { gateway, eventEpoch, eventSequence } = note
      const cites = { gateway, epoch: eventEpoch, sequence: eventSequence }
      yield { ...note, notedMs: 0, cites, proof: proofOf(note) }
    }
  }

  function proofOf(note: LedgerNote): NoteProof | undefined {
    const { gateway, eventEpoch, eventSequence, body } = note
    if (body === undefined)
      return database.events.get(placeOf({ gateway, epoch: eventEpoch, sequence: eventSequence }))
    const { source, id } = decodeEvent(body)
    return { body, originalStored: database.identities.has(`${source}\n${id}`) }
  }
}

function sequenceOf({ sequence }: { sequence: number }): number {
  return sequence
}
