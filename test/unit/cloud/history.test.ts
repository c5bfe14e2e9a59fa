import { pino } from 'pino'
import { describe, expect, test } from 'vitest'
import { noObserver, type PipelineObserver } from '../../../cloud/pipeline/observer.ts'
import { historyConsumer } from '../../../cloud/history/consumer.ts'
import { TidegateError } from '../../../src/errors.ts'
import { type Encoded, Ledger, posted } from '../../support/cloud/cloud-events.ts'
import { settled } from '../../support/fakes/clock.ts'
import { fakeHistory } from '../../support/fakes/storage.ts'
import { partitions, setUp } from '../../support/cloud/test-pipeline.ts'

const history = historyConsumer(fakeHistory)

describe('the history', () => {
  test('keeps the wire text, notes a repeat under another place, and stores what the edge rejected with its reason and without a letter (G5)', async () => {
    const { broker, storage, start } = setUp(history)
    start('a')
    const ledger = new Ledger()
    const events = [
      ledger.next('device-1'),
      ledger.next('device-1', { id: 'id-1', data: { temperature: 20.1 } }),
      ledger.next('device-1', {
        type: 'dev.tidegate.rejected',
        data: { reason: 'MALFORMED_JSON', detail: 'no JSON' },
      }),
      ledger.next('gateway-1', {
        type: 'dev.tidegate.ledger',
        source: '/gateways/gateway-1',
        data: { kind: 'undelivered', epoch: ledger.epoch, ranges: [{ from: 5, to: 9, reason: 'expired' }] },
      }),
    ]
    for (const event of events) broker.post(posted(event, partitions))
    broker.post(posted(events[0] as (typeof events)[number], partitions))
    await settled()
    expect(storage.events().map(({ body, disposition }) => [body, disposition])).toEqual([
      [events[0]?.text, 'accepted'],
      [events[2]?.text, 'rejected'],
      [events[3]?.text, 'accepted'],
    ])
    expect([...storage.committed.notes.values()].toSorted((a, b) => a.from - b.from)).toMatchObject([
      { from: 2, to: 2, reason: 'duplicate', chain: events[1]?.event.chain },
      { from: 5, to: 9, reason: 'expired' },
    ])
    expect(storage.events()[1]).toMatchObject({ reason: 'REJECTED_AT_EDGE: MALFORMED_JSON: no JSON' })
    expect(storage.dead()).toEqual([])
    expect(broker.depth).toBe(0)
  })

  test('waits for no letter of what it has stored: full dead letters hold up neither the device that filled them nor another (G5, G7)', async () => {
    const outcomes: string[] = []
    const failed: string[] = []
    const observer: PipelineObserver = {
      ...noObserver,
      settled: (_, outcome) => void outcomes.push(outcome),
      failed: (_, kind, code) => void failed.push(`${kind} ${code}`),
    }
    const { broker, storage, start } = setUp(history, { pipeline: { observer, lanes: 1 } })
    broker.sidingsDown = true
    const { pipeline } = start('a')
    const ledger = new Ledger()
    const rejected = (device: string): Encoded =>
      ledger.next(device, { type: 'dev.tidegate.rejected', data: { reason: 'MALFORMED_JSON', detail: 'no' } })
    const events = [
      ...Array.from({ length: 80 }, () => rejected('flooding')),
      ledger.next('healthy'),
      rejected('healthy'),
      ledger.next('healthy'),
    ]
    for (const event of events) broker.post(posted(event, partitions))
    await settled()
    expect(storage.events()).toHaveLength(events.length)
    expect(broker.depth).toBe(0)
    expect(pipeline.heldBy).toBeUndefined()
    expect(failed).toEqual(Array.from({ length: 81 }, () => 'recorded REJECTED_AT_EDGE'))
    expect(outcomes.toSorted()).toEqual([
      ...Array.from({ length: 2 }, () => 'processed'),
      ...Array.from({ length: 81 }, () => 'recorded'),
    ])
  })

  test('another reading under the same source and ID is no duplicate: it is noted as its rival, with its text, and told (G9)', async () => {
    const lines: object[] = []
    const log = pino({}, { write: (line) => void lines.push(JSON.parse(line) as object) })
    const { broker, storage, start } = setUp(history, { pipeline: { log } })
    const ledger = new Ledger()
    const first = ledger.next('device-1', { id: 'r-3' })
    const again = ledger.next('device-1', { id: 'r-3', data: first.event.data })
    const rival = ledger.next('device-1', { id: 'r-3', data: { temperature: 99 } })
    start('a')
    for (const event of [first, again, rival]) broker.post(posted(event, partitions))
    await settled()
    expect(storage.events().map(({ body }) => body)).toEqual([first.text])
    expect([...storage.committed.notes.values()]).toMatchObject([
      { from: 2, to: 2, reason: 'duplicate' },
      { from: 3, to: 3, reason: 'rival', body: rival.text },
    ])
    expect(lines).toMatchObject([{ code: 'IDENTITY_TAKEN', events: 1, id: 'r-3', sequence: 3 }])
    expect(broker.depth).toBe(0)
  })

  test('a ledger entry that an earlier version could not read is accounted for when it is published again', async () => {
    const { broker, storage, start } = setUp(history)
    const ledger = new Ledger()
    const entry = ledger.next('gateway-1', {
      type: 'dev.tidegate.ledger',
      source: '/gateways/gateway-1',
      data: { kind: 'undelivered', epoch: ledger.epoch, ranges: [{ from: 5, to: 9, reason: 'expired' }] },
    })
    const { gateway, epoch, sequence, source, id, type } = entry.event
    await storage.transaction(
      (tx) =>
        fakeHistory(tx).append([
          {
            gateway,
            epoch,
            sequence,
            source,
            id,
            type,
            subject: undefined,
            dataschema: undefined,
            timeMs: 0,
            recordedMs: 0,
            disposition: 'dead',
            reason: 'LEDGER_UNREADABLE: the ledger entry has a form this version does not know',
            body: entry.text,
          },
        ]),
      new AbortController().signal,
    )
    start('a')
    broker.post(posted(entry, partitions))
    await settled()
    expect([...storage.committed.notes.values()]).toMatchObject([{ from: 5, to: 9, reason: 'expired' }])
    expect(storage.dead()).toHaveLength(0)
    expect(broker.depth).toBe(0)
  })

  test('accounts for an event that breaks its schema with its reason, and without a letter (G5)', async () => {
    const { broker, storage, start } = setUp(history, {
      pipeline: {
        checkSchema: () =>
          new TidegateError('SCHEMA_VIOLATION', { message: 'data: no', retryable: false, hint: 'mend it' }),
      },
    })
    start('a')
    broker.post(posted(new Ledger().next('device-1'), partitions))
    await settled()
    expect(storage.events()).toMatchObject([{ disposition: 'dead', reason: 'SCHEMA_VIOLATION: data: no' }])
    expect(storage.dead()).toEqual([])
    expect(broker.depth).toBe(0)
  })

  test('an event whose place another holds becomes a dead letter', async () => {
    const { broker, storage, start } = setUp(history)
    start('a')
    broker.post(posted(new Ledger().next('device-1'), partitions))
    broker.post(posted(new Ledger().next('device-1', { id: 'other' }), partitions))
    await settled()
    expect(storage.events()).toHaveLength(1)
    expect(storage.dead().map(({ code }) => code)).toEqual(['LEDGER_PLACE_TAKEN'])
  })
})
