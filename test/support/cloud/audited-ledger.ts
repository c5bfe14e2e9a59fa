import { expect } from 'vitest'
import type { AuditedEvent } from '../../../cloud/audit/event.ts'
import type { AuditedNote } from '../../../cloud/audit/notes.ts'
import { auditLedger } from '../../../cloud/audit/audit.ts'
import type { LedgerReport, LedgerToAudit } from '../../../cloud/audit/ledger.ts'
import { textColumns } from '../../../cloud/history/record.ts'
import { claimedChain, encodeEvent, verifyChain } from '../../../src/contract/codec.ts'
import type { Event } from '../../../src/contract/event.ts'
import { type Encoded, epoch, Ledger } from './cloud-events.ts'

async function* stream<T>(items: readonly T[]): AsyncGenerator<T> {
  yield* items
}

export function audit(
  events: readonly AuditedEvent[],
  notes: readonly Noted[] = [],
  {
    closedAt,
    closedMs,
    ...more
  }: Partial<LedgerToAudit> & { closedAt?: number | undefined; closedMs?: number } = {},
): Promise<LedgerReport> {
  return auditLedger({
    gateway: 'gateway-1',
    epoch,
    events: stream(events),
    notes: stream(founded(notes)),
    closures: new Map(closedAt === undefined ? [] : [[epoch, { last: closedAt, notedMs: closedMs ?? 0 }]]),
    mayBeSpokenOfBy: () => true,
    ...more,
  })
}

export type Noted = Pick<AuditedNote, 'from' | 'to' | 'reason' | 'chain'> & Partial<AuditedNote>

/** As the gateway would have said it after a rename: in reports of 500 ranges, in an epoch of their own. */
export function founded(notes: readonly Noted[]): AuditedNote[] {
  const ledger = new Ledger('gateway-renamed', '01JGFJJZ09TESTTESTTESTTEST')
  return Array.from({ length: Math.ceil(notes.length / 500) }, (_, index) =>
    notes.slice(500 * index, 500 * (index + 1)),
  ).flatMap((batch) => {
    const reported = batch.filter(({ reason }) => reason !== 'duplicate')
    const ranges = reported.map(({ from, to, reason, chain }) => ({ from, to, reason, chain }))
    const { event: cites, text } = report(ledger, ranges)
    const proof = { body: text }
    return batch.map((note) => ({ notedMs: 0, cites, proof, ...note }))
  })
}

export function report(ledger: Ledger, ranges: object[], of = epoch): Encoded {
  return ledger.next(ledger.gateway, {
    type: 'dev.tidegate.ledger',
    data: { kind: 'undelivered', epoch: of, ranges },
  })
}

/** The note that the cloud writes of an event it has under another place already. */
export function duplicateOf(event: AuditedEvent, originalStored = true): AuditedNote {
  const { sequence, body } = event
  return {
    from: sequence,
    to: sequence,
    reason: 'duplicate',
    chain: chainOf(event),
    notedMs: 0,
    cites: { gateway: 'gateway-1', epoch, sequence },
    proof: { body, originalStored },
  }
}

export function ledgerOf(count: number): AuditedEvent[] {
  const ledger = new Ledger()
  return Array.from({ length: count }, () => row(ledger.next('device-1')))
}

export function row({ event, text }: { event: Event; text: string }): AuditedEvent {
  const { sequence } = event
  return {
    sequence,
    ...textColumns(event),
    disposition: 'accepted',
    reason: undefined,
    storedMs: sequence,
    body: text,
  }
}

export const at = (events: readonly AuditedEvent[], sequence: number): AuditedEvent =>
  events.find((event) => event.sequence === sequence) as AuditedEvent
export const without = (events: readonly AuditedEvent[], ...sequences: number[]): AuditedEvent[] =>
  events.filter((event) => !sequences.includes(event.sequence))
export const chainOf = (event: AuditedEvent): string => String(claimedChain(event.body))

/** The same event with other contents, chained anew to what stood before it. */
export function forge(
  event: AuditedEvent,
  previousChain: string,
  change: (text: Event) => void,
): AuditedEvent {
  const { chain: _, ...open } = JSON.parse(event.body) as Event
  change(open as Event)
  const { text } = encodeEvent(open, previousChain)
  expect(verifyChain(text, previousChain)).toBe(true)
  return { ...event, body: text }
}
