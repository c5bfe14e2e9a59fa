import { describe, expect, test } from 'vitest'
import type { LedgerReport, LedgerToAudit } from '../../../cloud/audit/ledger.ts'
import { formatLedger } from '../../../cloud/audit/report.ts'
import { checkpointType } from '../../../src/contract/checkpoint.ts'
import { audit, ledgerOf, row } from '../../support/cloud/audited-ledger.ts'
import { type Encoded, epoch } from '../../support/cloud/cloud-events.ts'
import { keyOf, rewritten, signedHead, signedLedger, signer } from '../../support/cloud/signed-ledger.ts'
import { testSigner } from '../../support/fakes/signer.ts'

const thief = testSigner(9, { everyEvents: 10 })

const keys = [keyOf(signer)]

function auditOf(events: readonly Encoded[], more: Partial<LedgerToAudit> = {}): Promise<LedgerReport> {
  return audit(events.map(row), [], { keys, ...more })
}

const textsOf = (events: readonly Encoded[]): string[] => events.map(({ text }) => text)

describe('the audit of a signed ledger', () => {
  test('says up to where it is signed, when and with which key, and how many events are behind (G8)', async () => {
    const { events } = await signedLedger()
    const report = await auditOf(events)
    expect(report).toMatchObject({
      ok: true,
      signed: { sequence: 32, key: signer.key },
      unsignedEvents: 2,
      unverified: null,
    })
    expect(formatLedger(report)).toContain(
      `signed up to 32 (2026-01-01T00:00:01.000Z, key ${signer.key}), 2 events behind`,
    )
  })

  test('without a registered key nothing is verified, and nothing alarms', async () => {
    const report = await auditOf((await signedLedger()).events, { keys: [] })
    expect(report).toMatchObject({ ok: true, signed: null, unverified: { sequence: 32 } })
    expect(formatLedger(report)).toContain('nobody has registered a key')
    expect(formatLedger(await auditOf([]))).toContain('not signed')
  })

  test('a tail that was written anew with correct hashes is found by the checkpoint in it (G8)', async () => {
    const { events } = await signedLedger()
    const forged = await rewritten(textsOf(events), (event) => {
      if (event.sequence === 25) event.data = { temperature: 99 }
    })
    const report = await auditOf(forged)
    expect(report).toMatchObject({ ok: false, chain: 'broken', signed: { sequence: 21 } })
    expect(report.faults).toMatchObject([{ sequence: 33, kind: 'rewritten' }])
    expect((await auditOf(forged, { keys: [] })).faults).toMatchObject([{ kind: 'rewritten' }])
  })

  test('who signs anew with a key of his own is found, under that name or under the gateway’s (G8)', async () => {
    const { events } = await signedLedger()
    const signedBy = (key: string): Promise<Encoded[]> =>
      rewritten(textsOf(events), async (event, before) => {
        const isSigned = event.type === checkpointType && before !== undefined
        event.data = isSigned ? { ...(await signedHead(before.event, thief)), key } : {}
      })
    const [own, stolen] = [
      await auditOf(await signedBy(thief.key)),
      await auditOf(await signedBy(signer.key)),
    ]
    expect(own.faults[0]).toMatchObject({ sequence: 11, kind: 'unknown-key' })
    expect(stolen.faults[0]).toMatchObject({ sequence: 11, kind: 'forged' })
    expect(own).toMatchObject({ ok: false, signed: null })
  })

  test.each<[string, object]>([
    ['the sequence', { sequence: 9 }],
    ['the time', { time: '2026-01-01T00:00:02.000Z' }],
    ['the bound', { everyEvents: 1000 }],
    ['a former key', { formerKey: thief.key }],
    ['another algorithm', { algorithm: 'ES256' }],
    ['a signature that is none', { signature: 'AAAA' }],
    ['a form that nobody knows', { signature: 1 }],
    ['another epoch', { epoch: '01JGFJJZ01TESTTESTTESTTEST' }],
    ['what comes behind it', { sequence: 12 }],
  ])('a checkpoint that says another thing than was signed is found: %s (G8)', async (_, change) => {
    const { events } = await signedLedger()
    const forged = await rewritten(textsOf(events.slice(0, 12)), (event) => {
      if (event.sequence === 11) event.data = { ...(event.data as object), ...change }
    })
    expect((await auditOf(forged)).faults[0]).toMatchObject({ sequence: 11, kind: 'forged' })
  })

  test('a signature of another gateway is none of this one (G8)', async () => {
    const [own, other] = [await signedLedger(), await signedLedger('gateway-2')]
    const { signature } = (other.events[10] as Encoded).event.data as { signature: string }
    const forged = await rewritten(textsOf(own.events.slice(0, 11)), (event) => {
      if (event.sequence === 11) event.data = { ...(event.data as object), signature }
    })
    expect((await auditOf(forged)).faults[0]).toMatchObject({ kind: 'forged' })
  })

  test('a retired key is believed of what it signed before, and of nothing later (G8)', async () => {
    const { events } = await signedLedger()
    const retired = (at: string): Promise<LedgerReport> =>
      auditOf(events, { keys: [keyOf(signer, { untilMs: Date.parse(at) })] })
    expect(await retired('2026-01-01T00:00:01.000Z')).toMatchObject({ ok: true, signed: { sequence: 32 } })
    expect((await retired('2026-01-01T00:00:00.999Z')).faults[0]).toMatchObject({ kind: 'unknown-key' })
  })

  test('more events behind the last signature than a gateway leaves are found, with or without one (G8)', async () => {
    const ledger = await signedLedger()
    await ledger.add(1_997)
    expect(await auditOf(ledger.events)).toMatchObject({ ok: true, unsignedEvents: 1_999 })
    await ledger.add(1)
    expect((await auditOf(ledger.events)).faults).toMatchObject([{ sequence: 2_033, kind: 'unsigned' }])
    expect(await auditOf(ledger.events, { keys: [] })).toMatchObject({ ok: true })
  })

  test('a ledger of a gateway with a key is to be signed as far as it was recorded since (G8)', async () => {
    const events = ledgerOf(2001)
    const since = (at: string): Promise<LedgerReport> =>
      audit(events, [], { keys: [keyOf(signer, { sinceMs: Date.parse(at) })] })
    expect((await since('2026-01-01T00:00:00.000Z')).faults).toMatchObject([{ kind: 'unsigned' }])
    expect((await since('2026-01-02')).faults).toEqual([])
    const few = await audit(ledgerOf(2000), [], { keys: [keyOf(signer, { sinceMs: 0 })] })
    expect(few).toMatchObject({ faults: [], signed: null, unsignedEvents: 2000 })
  })

  test('a kept head that has another chain value, or is not there, is found (G8)', async () => {
    const { events } = await signedLedger()
    const kept = [{ gateway: 'gateway-1', ...(await signedHead((events[31] as Encoded).event)) }]
    expect(await auditOf(events, { kept })).toMatchObject({ ok: true })
    expect((await auditOf(events.slice(0, 20), { kept })).faults).toMatchObject([
      { sequence: 32, kind: 'cut' },
    ])
    expect((await auditOf([], { kept })).faults).toMatchObject([{ sequence: 32, kind: 'cut' }])
    const anew = await rewritten(textsOf(events), (event) => void (event.data = {}))
    expect((await auditOf(anew, { kept, keys: [] })).faults).toContainEqual(
      expect.objectContaining({ sequence: 32, kind: 'rewritten' }),
    )
  })

  test('what another gateway says of it explains nothing, and stands against who says so (G9)', async () => {
    const { events } = await signedLedger()
    const about = { kind: 'undelivered', epoch, ranges: [{ from: 5, to: 5, reason: 'lost' }] }
    const liar = await signedLedger('gateway-2', '01JGFJJZ01TESTTESTTESTTEST')
    liar.events.push(liar.next('gateway-2', { type: 'dev.tidegate.ledger', data: about }))
    const said = await audit(liar.events.map(row), [], {
      gateway: liar.gateway,
      epoch: liar.epoch,
      strangerWith: (of) => (of === epoch ? 'gateway-1' : undefined),
    })
    expect(said.faults).toMatchObject([{ sequence: 36, kind: 'foreign' }])
    const without = events.filter(({ event }) => event.sequence !== 5)
    const note = { from: 5, to: 5, reason: 'lost', chain: undefined }
    expect(await audit(without.map(row), [note], { mayBeSpokenOfBy: () => false })).toMatchObject({
      ok: false,
      gaps: { ranges: [[5, 5]] },
    })
  })
})
