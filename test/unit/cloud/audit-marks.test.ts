import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { auditLedger } from '../../../cloud/audit/audit.ts'
import type { LedgerReport } from '../../../cloud/audit/ledger.ts'
import type { AuditedEvent } from '../../../cloud/audit/event.ts'
import { markingIn } from '../../../cloud/audit/marks/marking-postgres.ts'
import {
  digestOfRetired,
  type Horizon,
  type Mark,
  markedState,
  type MarkFacts,
  soundStates,
  standsAs,
  thinned,
} from '../../../cloud/audit/marks/marks.ts'
import type { DemandedHead } from '../../../cloud/audit/checkpoints.ts'
import type { AuditedNote } from '../../../cloud/audit/notes.ts'
import type { LedgerState } from '../../../cloud/audit/ledger.ts'
import type { Acceptance } from '../../../cloud/deeds/acceptances.ts'
import { retiredAt, type RetiredRange } from '../../../cloud/deeds/retirements.ts'
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
import { keyOf, SignedLedger, signedLedger, signer } from '../../support/cloud/signed-ledger.ts'

/** What is stored of one ledger. */
interface Stored {
  events: readonly AuditedEvent[]
  notes: readonly AuditedNote[]
  acceptances: readonly Acceptance[]
  retired?: readonly RetiredRange[]
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

function auditOf(
  { events, notes, acceptances, retired = [] }: Stored,
  more: More = {},
): Promise<LedgerReport> {
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
    retired,
    mayBeSpokenOfBy: () => true,
    settledBeforeMs,
    statesEvery: 1,
    from,
    chainAt: chainIn(events, retired),
    // As it will be read from a file.
    onState: states && ((state) => states.push(JSON.parse(JSON.stringify(state)) as LedgerState)),
  })
}

const chainIn =
  (events: readonly AuditedEvent[], retired: readonly RetiredRange[]) =>
  async (sequence: number): Promise<string | null | undefined> => {
    const event = events.find((one) => one.sequence === sequence)
    if (event === undefined) return retired.find(({ to }) => to === sequence)?.chain
    return claimedChain(event.body) ?? null
  }

/** But for what an audit that went on says of itself. */
const said = (report: LedgerReport): LedgerReport => ({ ...report, readFrom: 1, unread: 0 })

function factsOf({ events, notes, acceptances, retired = [] }: Stored, before: Stored): MarkFacts {
  const known = new Set(before.events)
  // What is attached is no newer than it was.
  const fresh = events
    .filter((event) => !known.has(event) && event.isArchived !== true)
    .map(({ sequence }) => sequence)
  return {
    firstFresh: fresh.length === 0 ? undefined : Math.min(...fresh),
    vouched: 'the same',
    retired: digestOfRetired([events.some(({ isArchived }) => isArchived) ? 'attached' : ''], retired),
    acceptances,
    chainAt: chainIn(events, retired),
    notesBefore: async (sequence) => JSON.stringify(notes.filter(({ from }) => from < sequence)),
    doubtsBefore: async (sequence) =>
      notes.filter(({ from, proof }) => from < sequence && proof === undefined).length,
    stands: () => true,
  }
}

async function markOf(states: readonly LedgerState[], stored: Stored): Promise<Mark> {
  const facts = factsOf(stored, stored)
  const all = []
  for (const state of states) all.push(await markedState(state, facts))
  const horizon = { era: 1, since: '0', tx: '1' }
  return {
    gateway: 'gateway-1',
    epoch,
    at: '2026-01-02T00:00:00.000Z',
    horizon,
    vouched: 'the same',
    retired: facts.retired,
    head: { sequence: 1, chain: null },
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
  /** Ranges that were retired before the first audit, or after it; as they are, or forged; and whether their archive is attached at last. */
  retired: fc.array(
    fc.record({
      after: fc.integer({ min: 1, max: 20 }),
      length: fc.integer({ min: 1, max: 10 }),
      when: fc.constantFrom('before', 'since'),
      isOther: fc.boolean(),
    }),
    { maxLength: 3 },
  ),
  isAttached: fc.boolean(),
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

interface DrawnRange extends RetiredRange {
  when: 'before' | 'since'
}

function retiredOf(drawn: Drawn['retired'], whole: readonly AuditedEvent[]): DrawnRange[] {
  const found: DrawnRange[] = []
  for (const { after, length, when, isOther } of drawn) {
    const from = (found.at(-1)?.to ?? 0) + after
    const to = from + length - 1
    const last = whole.find(({ sequence }) => sequence === (isOther ? to - 1 : to))
    const before = whole.find(({ sequence }) => sequence === from - 1)
    if (last)
      found.push({ from, to, before: (before && chainOf(before)) ?? null, chain: chainOf(last) ?? '', when })
  }
  return found
}

const plainRange = ({ from, to, before, chain }: RetiredRange): RetiredRange => ({ from, to, before, chain })

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
  const ranges = retiredOf(drawn.retired, whole)
  const then = ranges.filter(({ when }) => when === 'before').map(plainRange)
  const now = ranges.map(plainRange)
  const archived = drawn.isAttached
    ? left.filter(({ sequence }) => retiredAt(now, sequence)).map((event) => ({ ...event, isArchived: true }))
    : []
  return {
    before: {
      events: all.filter((event) => !isLate(event) && !retiredAt(then, event.sequence)),
      retired: then,
      notes: notes.filter((_, index) => index >= drawn.lateNotes),
      acceptances: acceptances.filter((_, index) => index >= drawn.lateAcceptances),
    },
    after: {
      events: [...all.filter(({ sequence }) => !retiredAt(now, sequence)), ...archived],
      notes,
      acceptances,
      retired: now,
    },
  }
}

describe('an audit that goes on from a mark', () => {
  test('from whatever place says what an audit of the whole says, whatever was lost, noted, altered, doubled, retired or attached (G8, model)', async () => {
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

  test('says what an audit of the whole says, though events, notes, acceptances and archives have come since in front of it (G8, model)', async () => {
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

describe('of a signed ledger', () => {
  test('there is a mark however far behind the last signature, and the next signature is judged from it as from the whole (G8)', async () => {
    const ledger = new SignedLedger()
    await ledger.add(10)
    await ledger.sign()
    await ledger.add(500)
    const states: LedgerState[] = []
    await auditOf({ events: ledger.events.map(row), notes: [], acceptances: [] }, { states, isSigned: true })
    expect(states.at(-1)?.next).toBe(512)
    // It signs what stands far in front of the mark.
    const head = ledger.events.at(-300)?.event
    await ledger.add(5)
    await ledger.sign(signer, { sequence: head?.sequence ?? 0, chain: head?.chain ?? '' })
    const stored = { events: ledger.events.map(row), notes: [], acceptances: [] }
    const whole = await auditOf(stored, { isSigned: true })
    expect(whole).toMatchObject({ ok: true, signed: { sequence: head?.sequence } })
    expect(said(await auditOf(stored, { from: states.at(-1), isSigned: true }))).toEqual(whole)
    const other = stored.events.map((event) =>
      event.sequence === head?.sequence ? { ...event, body: at(plain, 3).body } : event,
    )
    const forged = await auditOf({ ...stored, events: other }, { from: states.at(-1), isSigned: true })
    expect(forged.faults).toMatchObject([{ kind: 'rewritten' }])
  })

  test('with more holes behind its last signature than are kept there is none (G8)', async () => {
    const ledger = new SignedLedger()
    await ledger.add(2)
    await ledger.sign()
    await ledger.add(400)
    const events = ledger.events.map(row).filter(({ sequence }) => sequence < 4 || sequence % 2 === 0)
    const states: LedgerState[] = []
    await auditOf({ events, notes: [], acceptances: [] }, { states, isSigned: true })
    expect(states.at(-1)?.next).toBeGreaterThan(100)
    expect(states.at(-1)?.next).toBeLessThan(140)
  })
})

describe('a head that was kept', () => {
  const events = plain.slice(0, 20)
  const end = (to: number): AuditedNote[] =>
    founded([{ from: 21, to, reason: 'expired', chain: chainOf(at(plain, to)) }])
  const demand = (head: Partial<DemandedHead>, notes: readonly AuditedNote[]): Promise<LedgerReport> =>
    auditLedger({
      gateway: 'gateway-1',
      epoch,
      events: stream(events),
      notes: stream(notes),
      closures: new Map(),
      mayBeSpokenOfBy: () => true,
      kept: [{ gateway: 'gateway-1', epoch, sequence: 25, chain: chainOf(at(plain, 25)) ?? '', ...head }],
    })

  test('and that a believed note says is there, though a wider one has come since (G8)', async () => {
    expect(await demand({}, [...end(25), ...end(30)])).toMatchObject({ ok: true, lastSequence: 30 })
    expect((await demand({ chain: 'other' }, [...end(25), ...end(30)])).faults).toMatchObject([
      { kind: 'rewritten', sequence: 25 },
    ])
    expect((await demand({}, end(30))).faults).toMatchObject([{ kind: 'cut', sequence: 25 }])
  })

  test('and was seen on an event is not there because a note says so, nor one of a note that is not believed (G8)', async () => {
    expect((await demand({ isEvent: true }, end(25))).faults).toMatchObject([{ kind: 'cut', sequence: 25 }])
    const unfounded = end(25).map((note) => ({ ...note, proof: undefined }))
    expect((await demand({}, unfounded)).faults.map(({ kind }) => kind)).toContain('cut')
  })

  test('without a chain value demands the event (G8)', async () => {
    expect(await demand({ sequence: 20, chain: null, isEvent: true }, [])).toMatchObject({ ok: true })
    expect((await demand({ chain: null, isEvent: true }, [])).faults).toMatchObject([{ kind: 'cut' }])
  })
})

test('a state is not gone on from when what was not believed or not recorded in front of it has come to be (G8)', async () => {
  const doubted = founded([{ from: 5, to: 6, reason: 'expired', chain: undefined }])
  const before: Stored = {
    events: without(plain, 5, 6),
    notes: doubted.map((note) => ({ ...note, proof: undefined })),
    acceptances: [],
  }
  const states: LedgerState[] = []
  await auditOf(before, { states })
  const mark = await markOf(states, before)
  const facts = factsOf(before, before)
  expect((await soundStates(mark, facts)).at(-1)?.state).toMatchObject({ next: 41, doubts: 1 })
  const restored = { ...facts, doubtsBefore: async () => 0 }
  expect(await soundStates(mark, restored)).toEqual([])
  const unrecorded = { epoch: 'E', last: null, unrecorded: 5 }
  expect([standsAs(unrecorded), standsAs(unrecorded, 4), standsAs(unrecorded, 5)]).toEqual([
    true,
    true,
    false,
  ])
})

const markAt = (gateway: string, horizon: Horizon): Mark => ({
  gateway,
  epoch,
  at: '2026-01-01T00:00:00.000Z',
  horizon,
  vouched: '',
  retired: '',
  head: { sequence: 9, chain: null },
  states: [],
})
/** Which horizons the database is asked of: those of the other ledgers are read anew. */
async function asked(marks: readonly Mark[], eras: readonly Horizon[]): Promise<readonly unknown[]> {
  const marking = markingIn({ marks, isFull: false, forgotten: [], at: '' })
  let values: readonly unknown[] = []
  await marking.open(async <Row extends object>(text: string, given: readonly unknown[] = []) => {
    if (text.includes('tidegate.eras')) return eras as unknown as Row[]
    if (text.includes('unnest')) values = given
    return []
  })
  return values
}

describe('what was stored since', () => {
  const first = { era: 1, since: '100', tx: '50' }

  test('is asked for by each ledger’s own mark (G8)', async () => {
    const marks = [markAt('stuck', { ...first, tx: '7' }), markAt('newest', first)]
    expect(await asked(marks, [first])).toEqual([
      1,
      '7',
      ['stuck', 'newest'],
      [epoch, epoch],
      [1, 1],
      ['7', '50'],
    ])
  })

  test('is everything, in another era of that number, and where transactions have gone back (G8)', async () => {
    const other = { ...first, since: '101' }
    const second = { era: 2, since: '200', tx: '3' }
    expect((await asked([markAt('one', first)], [other]))[2]).toBeUndefined()
    expect((await asked([markAt('one', first)], [{ ...first, tx: '49' }]))[2]).toBeUndefined()
    expect((await asked([markAt('one', second)], [first]))[2]).toBeUndefined()
    expect((await asked([markAt('one', first)], [first, second]))[2]).toEqual(['one'])
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
