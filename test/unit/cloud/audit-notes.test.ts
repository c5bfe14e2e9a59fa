import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { AuditedEvent } from '../../../cloud/audit/event.ts'
import type { AuditedNote, NoteProof } from '../../../cloud/audit/notes.ts'
import { formatLedger } from '../../../cloud/audit/report.ts'
import { addRange, emptyRanges } from '../../../cloud/audit/ranges.ts'
import {
  at,
  audit,
  chainOf,
  duplicateOf,
  forge,
  founded,
  ledgerOf,
  report,
  without,
} from '../../support/cloud/audited-ledger.ts'
import { epoch, Ledger } from '../../support/cloud/cloud-events.ts'

describe('the audit of what was not delivered', () => {
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
  ])('a removed event is not explained by a note %s (G8)', async (_, why, forged) => {
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

  test.each(['duplicate', 'rival'])('the chain goes through the text of a %s (G8)', async (reason) => {
    const events = ledgerOf(10)
    const forged = forge(at(events, 4), chainOf(at(events, 3)), (event) => (event.data = { temperature: 0 }))
    const stored = without(events, 5).map((event) => (event.sequence === 4 ? forged : event))
    const note = { ...duplicateOf(at(events, 5)), reason }
    expect((await audit(without(events, 5), [note])).faults).toEqual([])
    expect((await audit(stored, [note])).faults).toMatchObject([{ sequence: 5, kind: 'unlinked' }])
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
