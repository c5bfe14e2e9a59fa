import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { auditLedger } from '../../../cloud/audit/audit.ts'
import type { LedgerReport } from '../../../cloud/audit/ledger.ts'
import type { AuditedEvent } from '../../../cloud/audit/event.ts'
import {
  type Mark,
  markedState,
  type MarkFacts,
  soundStates,
  thinned,
} from '../../../cloud/audit/marks/marks.ts'
import type { AuditedNote } from '../../../cloud/audit/notes.ts'
import type { LedgerState } from '../../../cloud/audit/ledger.ts'
import type { Acceptance } from '../../../cloud/deeds/acceptances.ts'
import { claimedChain } from '../../../src/contract/codec.ts'
import {
  at,
  chainOf,
  duplicateOf,
  founded,
  ledgerOf,
  row,
  without,
} from '../../support/cloud/audited-ledger.ts'
import { epoch } from '../../support/cloud/cloud-events.ts'
import { keyOf, signedLedger, signer } from '../../support/cloud/signed-ledger.ts'

/** What is stored of one ledger. */
interface Stored {
  events: readonly AuditedEvent[]
  notes: readonly AuditedNote[]
  acceptances: readonly Acceptance[]
}

async function* stream<T>(items: readonly T[]): AsyncGenerator<T> {
  yield* items
}

interface More {
  from?: LedgerState | undefined
  states?: LedgerState[]
  settledBeforeMs?: number | undefined
  isSigned?: boolean | undefined
}

function auditOf({ events, notes, acceptances }: Stored, more: More = {}): Promise<LedgerReport> {
  const { from, states, settledBeforeMs, isSigned } = more
  const next = from?.next ?? 1
  return auditLedger({
    gateway: 'gateway-1',
    epoch,
    events: stream(
      events.filter(({ sequence }) => sequence >= next).toSorted((a, b) => a.sequence - b.sequence),
    ),
    notes: stream(notes.filter((note) => note.from >= next).toSorted((a, b) => a.from - b.from)),
    closures: new Map(),
    keys: isSigned ? [keyOf(signer)] : [],
    acceptances,
    mayBeSpokenOfBy: () => true,
    settledBeforeMs,
    statesEvery: 1,
    from,
    // As it will be read from a file.
    onState: states && ((state) => states.push(JSON.parse(JSON.stringify(state)) as LedgerState)),
  })
}

/** But for what an audit that went on says of itself. */
const said = (report: LedgerReport): LedgerReport => ({ ...report, readFrom: 1, unread: 0 })

function factsOf({ events, notes, acceptances }: Stored, before: Stored): MarkFacts {
  const known = new Set(before.events)
  const fresh = events.filter((event) => !known.has(event)).map(({ sequence }) => sequence)
  return {
    firstFresh: fresh.length === 0 ? undefined : Math.min(...fresh),
    vouched: 'the same',
    acceptances,
    chainAt: async (sequence) => {
      const event = events.find((one) => one.sequence === sequence)
      return event && claimedChain(event.body)
    },
    notesBefore: async (sequence) => notes.filter(({ from }) => from < sequence).length,
    stands: () => true,
  }
}

async function markOf(states: readonly LedgerState[], stored: Stored): Promise<Mark> {
  const facts = factsOf(stored, stored)
  const all = []
  for (const state of states) all.push(await markedState(state, facts))
  const horizon = { era: 1, tx: '1' }
  return {
    gateway: 'gateway-1',
    epoch,
    at: '2026-01-02T00:00:00.000Z',
    horizon,
    vouched: 'the same',
    states: all,
  }
}

const count = 40
const plain = ledgerOf(count)
const signed = (await signedLedger()).events.map(row)

const ranges = fc.array(
  fc.record({
    from: fc.integer({ min: 1, max: count }),
    length: fc.integer({ min: 0, max: 6 }),
    kind: fc.constantFrom('known', 'unknown', 'false', 'duplicate'),
  }),
  { maxLength: 6 },
)
const history = fc.record({
  isSigned: fc.boolean(),
  removed: fc.uniqueArray(fc.integer({ min: 1, max: count }), { maxLength: 15 }),
  altered: fc.uniqueArray(fc.integer({ min: 1, max: count }), { maxLength: 2 }),
  twice: fc.uniqueArray(fc.integer({ min: 1, max: count }), { maxLength: 2 }),
  notes: ranges,
  acceptances: ranges,
  /** Of the events and notes, which came after the first audit. */
  late: fc.uniqueArray(fc.integer({ min: 1, max: count }), { maxLength: 4 }),
  lateNotes: fc.integer({ min: 0, max: 2 }),
  lateAcceptances: fc.integer({ min: 0, max: 2 }),
  end: fc.integer({ min: 1, max: count }),
  settledBeforeMs: fc.option(fc.integer({ min: 1, max: count }), { nil: undefined }),
})
type Drawn = typeof history extends fc.Arbitrary<infer T> ? T : never

function notesOf(drawn: Drawn['notes'], events: readonly AuditedEvent[]): AuditedNote[] {
  return drawn.flatMap(({ from, length, kind }) => {
    const first = at(events, from) as AuditedEvent | undefined
    const last = at(events, from + length) as AuditedEvent | undefined
    if (kind === 'duplicate') return first ? [duplicateOf(first)] : []
    const chain = kind === 'known' && last ? chainOf(last) : undefined
    const [note] = founded([{ from, to: from + length, reason: 'expired', chain }])
    if (note === undefined) return []
    return [kind === 'false' ? { ...note, proof: undefined } : note]
  })
}

function storedOf(drawn: Drawn): { before: Stored; after: Stored } {
  const whole = (drawn.isSigned ? signed : plain).map((event) => ({ ...event, storedMs: event.sequence }))
  const altered = whole.map((event) =>
    drawn.altered.includes(event.sequence) ? { ...event, body: event.body.replace('20', '30') } : event,
  )
  const left = without(altered, ...drawn.removed)
  const twice = left.filter(({ sequence }) => drawn.twice.includes(sequence)).map((event) => ({ ...event }))
  const all = [...left, ...twice]
  const notes = notesOf(drawn.notes, whole)
  const acceptances = drawn.acceptances
    .map(({ from, length }) => ({ from, to: from + length, by: 'a', at: 'b', reason: 'c' }))
    .toSorted((a, b) => a.from - b.from)
  const isLate = (event: AuditedEvent): boolean =>
    event.sequence > drawn.end || drawn.late.includes(event.sequence)
  return {
    before: {
      events: all.filter((event) => !isLate(event)),
      notes: notes.filter((_, index) => index >= drawn.lateNotes),
      acceptances: acceptances.filter((_, index) => index >= drawn.lateAcceptances),
    },
    after: { events: all, notes, acceptances },
  }
}

describe('an audit that goes on from a mark', () => {
  test('from whatever place says what an audit of the whole says, whatever was lost, noted, altered or doubled (G8, model)', async () => {
    await fc.assert(
      fc.asyncProperty(history, async (drawn) => {
        const { after } = storedOf(drawn)
        const { settledBeforeMs, isSigned } = drawn
        const states: LedgerState[] = []
        const whole = await auditOf(after, { states, settledBeforeMs, isSigned })
        expect(whole).toEqual({ ...(await auditOf(after, { settledBeforeMs, isSigned })) })
        for (const from of states)
          expect(said(await auditOf(after, { from, settledBeforeMs, isSigned }))).toEqual(said(whole))
      }),
      { numRuns: 150 },
    )
  })

  test('says what an audit of the whole says, though events, notes and acceptances have come since in front of it (G8, model)', async () => {
    await fc.assert(
      fc.asyncProperty(history, async (drawn) => {
        const { before, after } = storedOf(drawn)
        const { settledBeforeMs, isSigned } = drawn
        const states: LedgerState[] = []
        await auditOf(before, { states, settledBeforeMs, isSigned })
        const mark = await markOf(states, before)
        const sound = await soundStates(mark, factsOf(after, before))
        // What was settled then is settled now.
        const whole = await auditOf(after, { isSigned })
        const from = sound.at(-1)?.state
        expect(said(await auditOf(after, { from, isSigned }))).toEqual(said(whole))
      }),
      { numRuns: 150 },
    )
  })

  test('has a mark at the end of what is settled, and reads what is behind it (G8)', async () => {
    const stored = { events: plain, notes: [], acceptances: [] }
    const states: LedgerState[] = []
    await auditOf(stored, { states, settledBeforeMs: 30 })
    expect(states.at(-1)?.next).toBe(31)
    const report = await auditOf(stored, { from: states.at(-1) })
    expect(report).toMatchObject({ ok: true, readFrom: 31, unread: 30, present: { count: 40 } })
  })

  test('finds what was altered behind the mark, and an audit of the whole alone what was altered in front of it (G8)', async () => {
    const states: LedgerState[] = []
    const before = { events: plain, notes: [], acceptances: [] }
    await auditOf({ ...before, events: plain.slice(0, 20) }, { states })
    const from = states.at(-1)
    for (const [sequence, isFound] of [
      [25, true],
      [10, false],
    ] as const) {
      const events = plain.map((event) =>
        event.sequence === sequence
          ? { ...event, body: event.body.replace('"temperature":2', '"temperature":3') }
          : event,
      )
      expect((await auditOf({ ...before, events }, { from })).ok).toBe(!isFound)
      expect((await auditOf({ ...before, events })).ok).toBe(false)
    }
  })
})

test('of many states the last is kept, and some before it, apart by ever more', () => {
  let kept: number[] = []
  for (let next = 2; next <= 1_000_000; next += 1000)
    kept = thinned(
      [...kept, next].map((at) => ({ at })),
      (state) => state.at,
    ).map((state) => state.at)
  const last = kept.at(-1) ?? 0
  expect(last).toBe(999_002)
  expect(kept.length).toBeLessThan(15)
  for (const back of [1, 1000, 5000, 50_000, 300_000]) {
    const behind = kept.findLast((next) => next <= last - back) ?? 0
    expect(last - behind).toBeLessThanOrEqual(Math.max(8 * back, 8192))
  }
})
