import { describe, expect, test } from 'vitest'
import type { DemandedHead } from '../../../cloud/audit/checkpoints.ts'
import type { LedgerReport } from '../../../cloud/audit/ledger.ts'
import { markingIn, type MarkingOptions } from '../../../cloud/audit/marks/marking-postgres.ts'
import type { Mark } from '../../../cloud/audit/marks/marks.ts'
import { audit, databaseWith, tamper } from '../../support/cloud/audited-database.ts'
import { type Encoded, epoch, Ledger } from '../../support/cloud/cloud-events.ts'
import { SignedLedger } from '../../support/cloud/signed-ledger.ts'

const otherEpoch = '01JGFJJZ01TESTTESTTESTTEST'
const closedEpoch = '01JGFJJZ0ZTESTTESTTESTTEST'

async function auditFrom(
  url: string,
  marks: readonly Mark[],
  more: Partial<MarkingOptions> & { expected?: DemandedHead[] } = {},
): Promise<{ reports: LedgerReport[]; made: Mark[] }> {
  const { expected, ...options } = more
  const marking = markingIn({
    marks,
    isFull: false,
    forgotten: [],
    at: '2026-02-01T00:00:00.000Z',
    ...options,
  })
  const reports = await audit(url, { marking, expected })
  // As they will be read from a file.
  return { reports, made: JSON.parse(JSON.stringify(marking.made())) as Mark[] }
}

const kinds = (reports: readonly LedgerReport[]): string[] =>
  reports.flatMap(({ faults }) => faults.map(({ kind, sequence }) => `${kind} ${sequence}`))

/** `ledger` says something of itself or of others. */
function says(ledger: Ledger, data: Record<string, unknown>): Encoded {
  return ledger.next('tidegate', {
    id: `says-${ledger.sequence}`,
    source: `/gateways/${ledger.gateway}`,
    type: 'dev.tidegate.ledger',
    data,
  })
}

describe('what was audited once', () => {
  test('is demanded where it ended, however far behind a signature that is (G8)', async () => {
    const ledger = new SignedLedger()
    await ledger.add(1)
    await ledger.sign()
    await ledger.add(300)
    const url = await databaseWith(ledger.events)
    const { made } = await auditFrom(url, [])
    expect(made).toMatchObject([{ head: { sequence: 302 } }])
    expect((await auditFrom(url, made)).reports).toMatchObject([{ ok: true, readFrom: 303 }])
    await tamper(url, 'delete from tidegate.events where sequence > 100')
    const cut = await auditFrom(url, made)
    expect(kinds(cut.reports)).toEqual(['cut 302'])
    // And goes on being demanded, though what is there now is marked to go on from.
    expect(kinds((await auditFrom(url, cut.made)).reports)).toEqual(['cut 302'])
  })

  test('is not there because a note says so that is not believed, nor because its event has no chain value (G8)', async () => {
    const ledger = new Ledger('gateway-1', epoch)
    const events = Array.from({ length: 40 }, () => ledger.next('device-1'))
    const chain = ledger.skip()
    events.push(
      says(ledger, { kind: 'undelivered', epoch, ranges: [{ from: 41, to: 41, reason: 'evicted', chain }] }),
    )
    const second = new Ledger('gateway-2', otherEpoch)
    for (let at = 0; at < 10; at += 1) events.push(second.next('device-2', { id: `other-${at}` }))
    const url = await databaseWith(events)
    await tamper(
      url,
      `update tidegate.events set body = replace(body::text, '"chain"', '"chaim"')::json where gateway = 'gateway-2' and sequence = 10`,
    )
    const { made } = await auditFrom(url, [])
    const noted = { gateway: 'gateway-1', epoch, sequence: 41, chain }
    expect((await auditFrom(url, made, { expected: [noted] })).reports[0]).toMatchObject({
      ok: true,
      readFrom: 43,
    })
    const head = made.find(({ gateway }) => gateway === 'gateway-1')?.head
    await tamper(url, async (client) => {
      await client.query('update tidegate.ledger_notes set from_sequence = 2, to_sequence = 42, chain = $1', [
        head?.chain,
      ])
      await client.query('delete from tidegate.events')
    })
    const { reports } = await auditFrom(url, made)
    expect(kinds(reports)).toEqual(expect.arrayContaining(['cut 42', 'cut 10']))
  })
})

test('marks notice notes that were altered, and put nobody else behind where one of them is stuck (G8)', async () => {
  const ledger = new Ledger('gateway-1', epoch)
  const second = new Ledger('gateway-2', otherEpoch)
  const events = Array.from({ length: 20 }, () => ledger.next('device-1'))
  const chain = ledger.skip()
  const ranges = [{ from: 21, to: 21, reason: 'evicted', chain }]
  events.push(says(ledger, { kind: 'undelivered', epoch, ranges }), ledger.next('device-1'))
  for (let at = 0; at < 10; at += 1) events.push(second.next('device-2', { id: `other-${at}` }))
  const url = await databaseWith(events)
  const { made } = await auditFrom(url, [])
  await tamper(url, `delete from tidegate.events where gateway = 'gateway-2' and sequence = 10`)
  const stuck = await auditFrom(url, made)
  expect(stuck.reports).toMatchObject([{ readFrom: 24 }, { ok: false }])
  expect(new Set(stuck.made.map(({ horizon }) => horizon.tx)).size).toBe(1)
  await tamper(url, `update tidegate.ledger_notes set reason = 'expired'`)
  const altered = await auditFrom(url, stuck.made)
  expect(altered.reports[0]).toMatchObject({ readFrom: 1, ok: false })
})

test('a fault that was put right as it was is none any more, without an audit of the whole (G8)', async () => {
  const ledger = new Ledger('gateway-1', epoch)
  const events = Array.from({ length: 5 }, () => ledger.next('device-1'))
  events.push(
    says(ledger, { kind: 'epoch-closed', epoch: closedEpoch, lastSequence: 5, reason: 'corruption' }),
  )
  events.push(
    says(ledger, {
      kind: 'undelivered',
      epoch: closedEpoch,
      ranges: [{ from: 1, to: 5, reason: 'lost' }],
    }),
  )
  events.push(ledger.next('device-1'))
  const url = await databaseWith(events)
  await tamper(url, async (client) => {
    await client.query('create table closures as select * from tidegate.epoch_closures')
    await client.query('create table cited as select * from tidegate.events where sequence = 7')
    await client.query('delete from tidegate.epoch_closures')
  })
  const { reports, made } = await auditFrom(url, [])
  expect(kinds(reports)).toContain('unrecorded 6')
  await tamper(url, 'insert into tidegate.epoch_closures select * from closures')
  const restored = await auditFrom(url, made)
  expect(kinds(restored.reports)).toEqual([])
})
