import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { AuditedEvent } from '../../cloud/audit-event.ts'
import type { AuditedNote, NoteProof } from '../../cloud/audit-notes.ts'
import { auditLedger, type LedgerReport } from '../../cloud/audit.ts'
import { addToSummary, emptySummary, formatLedger, formatSummary } from '../../cloud/audit-report.ts'
import { textColumns } from '../../cloud/history-record.ts'
import { addRange, emptyRanges, formatRanges } from '../../cloud/ranges.ts'
import { claimedChain, encodeEvent, verifyChain } from '../../src/codec.ts'
import type { Event } from '../../src/event.ts'
import { type Encoded, epoch, Ledger } from '../support/cloud-events.ts'

async function* stream<T>(items: readonly T[]): AsyncGenerator<T> {
  yield* items
}

function audit(
  events: readonly AuditedEvent[],
  notes: readonly Noted[] = [],
  { closedAt, ...more }: { closedAt?: number | undefined; closedMs?: number; settledBeforeMs?: number } = {},
): Promise<LedgerReport> {
  return auditLedger({
    gateway: 'gateway-1',
    epoch,
    events: stream(events),
    notes: stream(founded(notes)),
    closures: new Map(
      closedAt === undefined ? [] : [[epoch, { last: closedAt, notedMs: more.closedMs ?? 0 }]],
    ),
    settledBeforeMs: more.settledBeforeMs,
  })
}

type Noted = Pick<AuditedNote, 'from' | 'to' | 'reason' | 'chain'> & Partial<AuditedNote>

/** As the gateway would have said it after a rename: in reports of 500 ranges, in an epoch of their own. */
function founded(notes: readonly Noted[]): AuditedNote[] {
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

function report(ledger: Ledger, ranges: object[], of = epoch): Encoded {
  return ledger.next(ledger.gateway, {
    type: 'dev.tidegate.ledger',
    data: { kind: 'undelivered', epoch: of, ranges },
  })
}

/** The note that the cloud writes of an event it has under another place already. */
function duplicateOf(event: AuditedEvent, originalStored = true): AuditedNote {
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

function ledgerOf(count: number): AuditedEvent[] {
  const ledger = new Ledger()
  return Array.from({ length: count }, () => row(ledger.next('device-1')))
}

function row({ event, text }: { event: Event; text: string }): AuditedEvent {
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

const at = (events: readonly AuditedEvent[], sequence: number): AuditedEvent =>
  events.find((event) => event.sequence === sequence) as AuditedEvent
const without = (events: readonly AuditedEvent[], ...sequences: number[]): AuditedEvent[] =>
  events.filter((event) => !sequences.includes(event.sequence))
const chainOf = (event: AuditedEvent): string => String(claimedChain(event.body))

/** The same event with other contents, chained anew to what stood before it. */
function forge(event: AuditedEvent, previousChain: string, change: (text: Event) => void): AuditedEvent {
  const { chain: _, ...open } = JSON.parse(event.body) as Event
  change(open as Event)
  const { text } = encodeEvent(open, previousChain)
  expect(verifyChain(text, previousChain)).toBe(true)
  return { ...event, body: text }
}

describe('the audit', () => {
  test('finds a complete ledger complete', async () => {
    const report = await audit(ledgerOf(100))
    expect(report).toMatchObject({ ok: true, chain: 'intact', lastSequence: 100, faultCount: 0 })
    expect(report.present).toEqual({ ranges: [[1, 100]], count: 100, unlisted: 0 })
    expect(report.unverifiedLinks).toBe(0)
    expect(formatLedger(report)).toContain('100 of 100 present')
  })

  test('an event that was removed is a gap', async () => {
    const report = await audit(without(ledgerOf(10), 4))
    expect(report.ok).toBe(false)
    expect(report.gaps.ranges).toEqual([[4, 4]])
    expect(formatLedger(report)).toContain('MISSING')
  })

  test('a removed event whose successors were renumbered is found', async () => {
    const events = without(ledgerOf(6), 3).map((event, index) => ({ ...event, sequence: index + 1 }))
    const report = await audit(events)
    expect(report.faults[0]).toMatchObject({ sequence: 3, id: 'id-4', kind: 'moved' })
  })

  test('one character that was altered is found, and named', async () => {
    const events = ledgerOf(10)
    const altered = at(events, 6)
    altered.body = altered.body.replace('20.6', '20.7')
    const report = await audit(events)
    expect(report).toMatchObject({ ok: false, chain: 'broken', faultCount: 1 })
    expect(report.faults).toMatchObject([{ sequence: 6, id: 'id-6', kind: 'unlinked' }])
  })

  test('an event that was altered and chained anew betrays itself in the next', async () => {
    const events = ledgerOf(10)
    const forged = forge(at(events, 6), chainOf(at(events, 5)), (event) => (event.data = { temperature: 0 }))
    const report = await audit(events.map((event) => (event.sequence === 6 ? forged : event)))
    expect(report.faults).toMatchObject([{ sequence: 7, kind: 'unlinked' }])
  })

  test('two events that changed places are both named', async () => {
    const events = ledgerOf(5)
    const [second, third] = [at(events, 2), at(events, 3)]
    const swapped = events.map((event) =>
      event === second ? { ...third, sequence: 2 } : event === third ? { ...second, sequence: 3 } : event,
    )
    const report = await audit(swapped)
    expect(report.faults.slice(0, 2)).toMatchObject([
      { sequence: 2, kind: 'moved' },
      { sequence: 3, kind: 'moved' },
    ])
  })

  test.each([
    ['id', { id: 'other' }],
    ['type', { type: 'com.acme.other' }],
    ['source', { source: '/devices/other' }],
    ['subject', { subject: 'cellar' }],
    ['schema', { dataschema: 'com.acme.climate/2' }],
    ['time', { timeMs: Date.parse('2026-01-01T00:00:00.001Z') }],
    ['time of recording', { recordedMs: Date.parse('2026-01-02') }],
    ['disposition', { disposition: 'rejected', reason: 'MALFORMED_JSON: no' }],
    ['disposition, without a reason,', { disposition: 'dead' }],
    ['reason', { reason: 'SCHEMA_VIOLATION: no' }],
  ])('a column that says another %s than the text is found', async (_, change) => {
    const events = ledgerOf(3)
    Object.assign(at(events, 2), change)
    const report = await audit(events)
    expect(report).toMatchObject({ ok: false, chain: 'intact' })
    expect(report.faults).toMatchObject([{ sequence: 2, kind: 'relabelled' }])
  })

  test('what is accounted for is no gap, and the chain is followed across it', async () => {
    const events = ledgerOf(10)
    const notes = [
      { from: 3, to: 4, reason: 'expired', chain: chainOf(at(events, 4)) },
      duplicateOf(at(events, 7)),
      { from: 10, to: 10, reason: 'evicted', chain: undefined },
    ]
    const report = await audit(without(events, 3, 4, 7, 10), notes)
    expect(report).toMatchObject({ ok: true, unverifiedLinks: 0, lastSequence: 10 })
    expect(report.undelivered).toMatchObject({
      expired: { ranges: [[3, 4]] },
      duplicate: { ranges: [[7, 7]] },
      evicted: { ranges: [[10, 10]] },
    })
    at(events, 5).body = at(events, 5).body.replace('20.5', '21.5')
    expect((await audit(without(events, 3, 4, 7, 10), notes)).faults).toMatchObject([{ sequence: 5 }])
  })

  test.each<[string, string, (event: AuditedEvent) => Partial<AuditedNote>]>([
    [
      'that cites an event which is not stored',
      'no ledger event is stored there',
      () => ({ proof: undefined }),
    ],
    [
      'that cites a report of other ranges',
      'says something else',
      () => founded([{ from: 5, to: 6, reason: 'evicted', chain: undefined }])[0] ?? {},
    ],
    [
      'that cites a report of another epoch',
      'says something else',
      (event) => {
        const ranges = [{ from: 5, to: 5, reason: 'evicted', chain: chainOf(event) }]
        const { event: cites, text } = report(new Ledger(), ranges, '01JGFJJZ01TESTTESTTESTTEST')
        return { cites, proof: { body: text } }
      },
    ],
    [
      'that cites what a device said',
      'says something else',
      (event) => {
        const ranges = [{ from: 5, to: 5, reason: 'evicted', chain: chainOf(event) }]
        const data = { kind: 'undelivered', epoch, ranges }
        const { event: cites, text } = new Ledger().next('device-1', { data })
        return { cites, proof: { body: text } }
      },
    ],
    ['of a duplicate whose text was not kept', 'not kept', () => ({ reason: 'duplicate', proof: undefined })],
    ['of a duplicate of nothing', 'is not stored', (event) => duplicateOf(event, false)],
    [
      'of a duplicate that stands somewhere else',
      'somewhere else',
      (event) => ({
        ...duplicateOf(event),
        proof: { ...duplicateOf(at(ledgerOf(4), 4)).proof } as NoteProof,
      }),
    ],
  ])('a removed event is not explained by a note %s', async (_, why, forged) => {
    const events = ledgerOf(10)
    const removed = at(events, 5)
    const note = { from: 5, to: 5, reason: 'evicted', chain: chainOf(removed), ...forged(removed) }
    const result = await audit(without(events, 5), [{ ...note, from: 5, to: 5 }])
    expect(result.ok).toBe(false)
    expect(result.gaps.ranges).toEqual([[5, 5]])
    expect(result.faults).toMatchObject([{ sequence: 5, kind: 'unfounded' }])
    expect(formatLedger(result)).toContain('UNFOUNDED 5')
    expect(formatLedger(result)).toContain(why)
  })

  test('the chain goes through the text of a duplicate', async () => {
    const events = ledgerOf(10)
    const forged = forge(at(events, 4), chainOf(at(events, 3)), (event) => (event.data = { temperature: 0 }))
    const stored = without(events, 5).map((event) => (event.sequence === 4 ? forged : event))
    expect((await audit(stored, [duplicateOf(at(events, 5))])).faults).toMatchObject([
      { sequence: 5, kind: 'unlinked' },
    ])
  })

  test('after a loss that knows no chain the next link is unverified, not broken', async () => {
    const report = await audit(without(ledgerOf(10), 5), [
      { from: 5, to: 5, reason: 'lost', chain: undefined },
    ])
    expect(report).toMatchObject({ ok: true, chain: 'intact', unverifiedLinks: 1 })
  })

  test('what arrived although it was given up counts as present', async () => {
    const report = await audit(without(ledgerOf(10), 6), [
      { from: 4, to: 8, reason: 'lost', chain: undefined },
    ])
    expect(report.present.count).toBe(9)
    expect(report.undelivered['lost']?.ranges).toEqual([[6, 6]])
    expect(report.ok).toBe(true)
  })

  test('a closed epoch that ends before its last sequence has a gap at its end', async () => {
    expect((await audit(ledgerOf(5), [], { closedAt: 8 })).gaps.ranges).toEqual([[6, 8]])
    expect((await audit(ledgerOf(5), [], { closedAt: 5 })).ok).toBe(true)
  })

  test('a closure that a ledger event told of and that is not recorded, or lower, is found', async () => {
    const ledger = new Ledger()
    const data = { kind: 'epoch-closed', epoch, lastSequence: 8, reason: 'corruption' }
    const said = [row(ledger.next('gateway-1', { type: 'dev.tidegate.ledger', data }))]
    const closed = (last?: number): Promise<LedgerReport> =>
      audit(said, [{ from: 2, to: 8, reason: 'lost', chain: undefined }], { closedAt: last })
    expect(await closed(8)).toMatchObject({ ok: true, faults: [] })
    for (const last of [undefined, 7])
      expect(await closed(last)).toMatchObject({ ok: false, faults: [{ sequence: 1, kind: 'unrecorded' }] })
  })

  test('a young gap is pending when asked to let things settle', async () => {
    const events = without(ledgerOf(10), 3, 8)
    const report = await audit(events, [], { settledBeforeMs: 6 })
    expect(report.gaps.ranges).toEqual([[3, 3]])
    expect(report.pending.ranges).toEqual([[8, 8]])
  })

  test('the end of a closed epoch is pending while the word of its end is young', async () => {
    const events = ledgerOf(7)
    const closed = { closedAt: 10, closedMs: 50 }
    const young = await audit(events, [], { ...closed, settledBeforeMs: 49 })
    expect(young).toMatchObject({ ok: true, lastSequence: 10, pending: { ranges: [[8, 10]] } })
    const old = await audit(events, [], { ...closed, settledBeforeMs: 50 })
    expect(old).toMatchObject({ ok: false, gaps: { ranges: [[8, 10]] }, pending: { count: 0 } })
  })

  test('a gap at the end before a note is pending while the note is young', async () => {
    const notes = [{ from: 9, to: 9, reason: 'evicted', chain: undefined, notedMs: 70 }]
    const report = await audit(ledgerOf(7), notes, { closedAt: 10, closedMs: 50, settledBeforeMs: 60 })
    expect(report.pending.ranges).toEqual([[8, 8]])
    expect(report.gaps.ranges).toEqual([[10, 10]])
  })

  test('what is pending is told, and is not called complete', async () => {
    const summary = emptySummary()
    const report = await audit(without(ledgerOf(10), 8), [], { settledBeforeMs: 6 })
    addToSummary(summary, report)
    expect(summary).toMatchObject({ ok: true, pending: 1, missing: 0 })
    expect(formatLedger(report)).toMatch(/^wait  gateway-1/)
    expect(formatSummary(summary)).toContain('1 perhaps still on the way: no alarm, but not complete yet')
    expect(formatSummary(summary)).not.toContain('complete and untouched')
  })

  test('notes by the hundred thousand, around as many gaps, are swept once', async () => {
    const events = ledgerOf(2)
    const many = 300_000
    const end = 2 * many + 2
    const notes = Array.from({ length: many }, (_, index) => ({
      from: 2 * index + 3,
      to: 2 * index + 3,
      reason: 'expired',
      chain: undefined,
    }))
    const report = await audit(events, notes, { closedAt: end })
    expect(report.undelivered['expired']?.count).toBe(many)
    expect(report.gaps.count).toBe(many)
    expect(report.lastSequence).toBe(end)
  })

  test('every sequence is present, accounted for or missing, whatever was noted (model)', async () => {
    const events = ledgerOf(30)
    const noteArbitrary = fc
      .tuple(fc.integer({ min: 1, max: 40 }), fc.integer({ min: 0, max: 12 }), fc.boolean())
      .map(([from, length, knows]) => ({ from, to: from + length, knows }))
    await fc.assert(
      fc.asyncProperty(
        fc.uniqueArray(fc.integer({ min: 1, max: 30 })),
        fc.array(noteArbitrary, { maxLength: 8 }),
        async (removed, drawn) => {
          const notes = drawn
            .map(({ from, to, knows }) => ({
              from,
              to,
              reason: 'expired',
              chain: knows && to <= 30 ? chainOf(at(events, to)) : undefined,
            }))
            .toSorted((a, b) => a.from - b.from)
          const present = without(events, ...removed)
          const report = await audit(present, notes)
          const last = Math.max(0, ...present.map((event) => event.sequence), ...notes.map((note) => note.to))
          const noted = (sequence: number): boolean =>
            notes.some((note) => note.from <= sequence && note.to >= sequence)
          const all = Array.from({ length: last }, (_, index) => index + 1)
          const has = (sequence: number): boolean => sequence <= 30 && !removed.includes(sequence)
          const list = (wanted: (sequence: number) => boolean): [number, number][] => {
            const ranges = emptyRanges()
            all.filter(wanted).forEach((sequence) => addRange(ranges, sequence, sequence))
            return ranges.ranges
          }
          expect(report.lastSequence).toBe(last)
          expect(report.present.ranges).toEqual(list(has))
          expect(merged(report.undelivered['expired']?.ranges)).toEqual(
            list((sequence) => !has(sequence) && noted(sequence)),
          )
          expect(report.gaps.ranges).toEqual(list((sequence) => !has(sequence) && !noted(sequence)))
          expect(report.faultCount).toBe(0)
        },
      ),
      { numRuns: 300 },
    )
  })
})

function merged(ranges: [number, number][] = []): [number, number][] {
  const list = emptyRanges()
  for (const [from, to] of ranges) addRange(list, from, to)
  return list.ranges
}

test('ranges are compact and bounded', () => {
  const list = emptyRanges()
  for (let sequence = 1; sequence <= 5000; sequence += 2) addRange(list, sequence, sequence)
  expect(list.ranges).toHaveLength(1000)
  expect(list).toMatchObject({ count: 2500, unlisted: 1500 })
  expect(formatRanges(list, 2)).toBe('1, 3, and 2498 more ranges')
})
