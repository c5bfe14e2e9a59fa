import type { AuditedEvent } from '../../../cloud/audit/event.ts'
import type { AuditedNote, NoteProof } from '../../../cloud/audit/notes.ts'
import { type AuditedClosure, auditLedger } from '../../../cloud/audit/audit.ts'
import type { LedgerNote } from '../../../cloud/history/history.ts'
import { decodeEvent } from '../../../src/contract/codec.ts'
import { placeOf } from '../parts/transaction.ts'
import { gatewayName } from '../plan/settings.ts'
import type { World } from './world-view.ts'

/** G8: the audit that an operator would run finds nothing, and has seen everything. */
export async function checkAudit({ database, truth, journal }: World): Promise<void> {
  const lasts = new Map<string, number>()
  for (const { epoch, sequence } of truth.places.values()) {
    lasts.set(epoch, Math.max(sequence, lasts.get(epoch) ?? 0))
  }
  for (const [epoch, last] of lasts) {
    const report = await auditLedger({
      gateway: gatewayName,
      epoch,
      events: events(epoch),
      notes: notes(epoch),
      closures: closures(),
      mayBeSpokenOfBy: (gateway) => gateway === gatewayName,
    })
    const { lastSequence, gaps, faults, unverifiedLinks } = report
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

  async function* events(epoch: string): AsyncGenerator<AuditedEvent> {
    const records = [...database.events.values()].filter((record) => record.epoch === epoch)
    for (const record of records.toSorted((a, b) => (placeOf(a) < placeOf(b) ? -1 : 1))) {
      yield { ...record, storedMs: record.recordedMs }
    }
  }

  async function* notes(epoch: string): AsyncGenerator<AuditedNote> {
    const known = [...database.notes.values()].filter((note) => note.epoch === epoch)
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
