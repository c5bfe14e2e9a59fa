import { describe, expect, test } from 'vitest'
import { HeadsToKeep, keysFor } from '../../../cloud/audit/heads.ts'
import type { LedgerReport, LedgerToAudit } from '../../../cloud/audit/ledger.ts'
import type { LedgerName } from '../../../cloud/audit/notes.ts'
import { signedThrough } from '../../../cloud/audit/signatures.ts'
import { emptyRegistry, registryOf } from '../../../cloud/gateways/registry.ts'
import { checkpointType } from '../../../src/contract/checkpoint.ts'
import { audit, type Noted, report, row } from '../../support/cloud/audited-ledger.ts'
import { genesis } from '../../../src/contract/codec.ts'
import { type Encoded, epoch, Ledger } from '../../support/cloud/cloud-events.ts'
import { keyOf, rewritten, signedLedger, signer } from '../../support/cloud/signed-ledger.ts'
import { testSigner } from '../../support/fakes/signer.ts'

const keys = [keyOf(signer)]
const madeUp = '01JGFJJZ05TESTTESTTESTTEST'

/** All that the database holds, by epoch. */
function signaturesOf(events: readonly Encoded[]): (ledger: LedgerName) => Promise<number> {
  return ({ gateway, epoch }) => {
    const own = events.filter(({ event }) => event.gateway === gateway && event.epoch === epoch)
    const newest = own.filter(({ event }) => event.type === checkpointType).toReversed()
    async function* checkpoints() {
      yield* newest.map(row)
    }
    const chainAt = async (sequence: number): Promise<string | undefined> =>
      own.find(({ event }) => event.sequence === sequence)?.event.chain
    return signedThrough({ gateway, epoch, keys, checkpoints: checkpoints(), chainAt })
  }
}

function auditOf(
  events: readonly Encoded[],
  notes: readonly Noted[] = [],
  more: Partial<LedgerToAudit> = {},
): Promise<LedgerReport> {
  const own = events.filter(({ event }) => event.epoch === epoch).map(row)
  return audit(own, notes, { keys, signedThrough: signaturesOf(events), ...more })
}

const chainAt = (events: readonly Encoded[], sequence: number): string =>
  String(events[sequence - 1]?.event.chain)

/** What an event says of a range, and the note that the cloud makes of it. */
function excused(by: Ledger, range: Pick<Noted, 'from' | 'to' | 'reason' | 'chain'>): [Encoded, Noted] {
  const said = report(by, [range])
  const { gateway, epoch, sequence } = said.event
  return [said, { ...range, notedMs: 100, cites: { gateway, epoch, sequence }, proof: { body: said.text } }]
}

describe('signatures', () => {
  test('who removes signed events, and excuses that in an epoch that is made up, is found: what excuses is to be signed too (G8)', async () => {
    const { events } = await signedLedger()
    const range = { from: 3, to: 17, reason: 'evicted', chain: chainAt(events, 17) }
    const [said, note] = excused(new Ledger('gateway-1', madeUp), range)
    const left = [...events.filter(({ event }) => event.sequence < 3 || event.sequence > 17), said]
    expect(await auditOf(left, [note])).toMatchObject({
      ok: false,
      gaps: { ranges: [[3, 17]] },
      faults: [{ kind: 'unfounded', detail: expect.stringContaining('is not signed') as string }],
    })
    // An epoch that a crash has ended before its first signature has few events, and looks the same.
    expect(await audit([row(said)], [], { keys, epoch: madeUp })).toMatchObject({
      ok: true,
      signed: null,
      unsignedEvents: 1,
    })
  })

  test('a loss that was reported just now is pending until the report is signed, and accounted for from then on (G8)', async () => {
    const ledger = await signedLedger()
    const range = { from: 3, to: 9, reason: 'evicted', chain: chainAt(ledger.events, 9) }
    const [said, note] = excused(ledger, range)
    ledger.events.push(said)
    const left = (): Encoded[] =>
      ledger.events.filter(({ event }) => event.sequence < 3 || event.sequence > 9)
    expect(await auditOf(left(), [note], { settledBeforeMs: 99 })).toMatchObject({
      ok: true,
      gaps: { count: 0 },
      pending: { ranges: [[3, 9]] },
    })
    expect(await auditOf(left(), [note])).toMatchObject({ ok: false, gaps: { ranges: [[3, 9]] } })
    await ledger.sign()
    expect(await auditOf(left(), [note])).toMatchObject({
      ok: true,
      pending: { count: 0 },
      undelivered: { evicted: { ranges: [[3, 9]] } },
      uncoveredEvents: 2,
    })
  })

  test('who writes a beginning anew, and lets its last event excuse the next one, is found: a report speaks of what was before (G8)', async () => {
    const { events } = await signedLedger()
    const range = { from: 20, to: 20, reason: 'evicted', chain: chainAt(events, 20) }
    const anew = await rewritten(
      events.slice(0, 19).map(({ text }) => text),
      (event) => {
        event.type = event.sequence === 19 ? 'dev.tidegate.ledger' : 'com.acme.climate'
        event.data = event.sequence === 19 ? { kind: 'undelivered', epoch, ranges: [range] } : {}
      },
    )
    const said = anew[18] as Encoded
    const cites = { gateway: 'gateway-1', epoch, sequence: 19 }
    const note = { ...range, cites, proof: { body: said.text } }
    expect(await auditOf([...anew, ...events.slice(20)], [note])).toMatchObject({
      ok: false,
      gaps: { ranges: [[20, 20]] },
      faults: [{ kind: 'unfounded', detail: expect.stringContaining('comes before it') as string }],
      uncoveredEvents: 19,
    })
  })

  test('what was retired is followed: a signature may cover it, and a kept head of it counts as there, but for another chain (G8)', async () => {
    const { events } = await signedLedger()
    const signed = (await auditOf(events)).signed
    const head = { gateway: 'gateway-1', ...(signed as NonNullable<typeof signed>) }
    const { sequence } = head
    const range = {
      from: 1,
      to: sequence,
      before: genesis('gateway-1', epoch),
      chain: chainAt(events, sequence),
    }
    const left = events.filter(({ event }) => event.sequence > sequence)
    const more = { retired: [range], kept: [head] }
    expect(await auditOf(left, [], more)).toMatchObject({
      ok: true,
      signed,
      retired: { ranges: [[1, sequence]] },
      gaps: { count: 0 },
      unverifiedLinks: 0,
    })
    const inside = {
      ...more,
      retired: [{ ...range, to: sequence + 1, chain: chainAt(events, sequence + 1) }],
    }
    expect(await auditOf(left.slice(1), [], inside)).toMatchObject({ ok: true })
    expect(await auditOf(left, [], { kept: [head] })).toMatchObject({ ok: false })
    const other = { ...more, retired: [{ ...range, chain: chainAt(events, sequence - 1) }] }
    expect((await auditOf(left, [], other)).faults).toContainEqual({
      sequence,
      kind: 'rewritten',
      detail: expect.stringContaining('the head of it that was kept') as string,
    })
  })

  test('a head that is kept never goes back, however often the end is cut off right behind it (G8)', async () => {
    const { events } = await signedLedger()
    const first = new HeadsToKeep(undefined)
    first.add(await auditOf(events))
    const kept = first.of(emptyRegistry)
    expect(kept.heads).toMatchObject([{ sequence: 32 }])
    const cut = await auditOf(events.slice(0, 32), [], { kept: kept.heads })
    expect(cut).toMatchObject({ ok: true, signed: { sequence: 21 } })
    const next = new HeadsToKeep(kept)
    next.add(cut)
    expect(next.of(emptyRegistry).heads).toMatchObject([{ sequence: 32 }])
  })

  test('a kept key that was retired since is retired, and a further one is believed if a person says so (G8)', () => {
    const [own, other] = [keyOf(signer), keyOf(testSigner(3))]
    const registry = registryOf({ gateways: [], names: [], keys: [{ ...own, untilMs: 5 }, other] })
    const kept = { keys: [own], heads: [] }
    expect(keysFor('gateway-1', registry, kept)).toEqual([{ ...own, untilMs: 5 }])
    const again = registryOf({ gateways: [], names: [], keys: [own, other] })
    expect(keysFor('gateway-1', again, { ...kept, keys: [{ ...own, untilMs: 4 }] })).toMatchObject([
      { untilMs: 4 },
    ])
    expect(keysFor('gateway-1', again, { ...kept, trusted: [other.fingerprint] })).toEqual([own, other])
  })

  test('an old signature that comes again takes nothing back (G8)', async () => {
    const ledger = await signedLedger()
    const { data } = (ledger.events[10] as Encoded).event
    ledger.events.push(
      ledger.next('gateway-1', { type: checkpointType, source: '/gateways/gateway-1', data }),
    )
    expect(await auditOf(ledger.events)).toMatchObject({ ok: true, signed: { sequence: 32 } })
  })

  test('an epoch of which another gateway has events too is named (G9)', async () => {
    const { events } = await signedLedger()
    expect(await auditOf(events, [], { sharedWith: ['gateway-2'] })).toMatchObject({
      ok: false,
      faults: [{ kind: 'shared' }],
    })
  })

  test('a registered key that is no key is named, and verifies nothing (G8)', async () => {
    const { events } = await signedLedger()
    const none = [{ ...keyOf(signer), publicKey: 'none' }]
    expect((await audit([], [], { keys: none })).faults).toMatchObject([{ kind: 'unknown-key' }])
    const { faults } = await auditOf(events, [], { keys: none })
    expect(faults[0]).toMatchObject({
      kind: 'unknown-key',
      detail: expect.stringContaining(signer.key) as string,
    })
  })
})
