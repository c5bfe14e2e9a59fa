import { pino } from 'pino'
import { describe, expect, test } from 'vitest'
import { historyConsumer } from '../../../cloud/history/consumer.ts'
import { TidegateError } from '../../../src/errors.ts'
import { headers } from '../../../src/contract/wire.ts'
import { Ledger, posted } from '../../support/cloud/cloud-events.ts'
import { settled } from '../../support/fakes/clock.ts'
import { fakeHistory } from '../../support/fakes/storage.ts'
import { partitions, setUp } from '../../support/cloud/test-pipeline.ts'

const history = historyConsumer(fakeHistory)

describe('the history', () => {
  test('keeps the wire text, notes a repeat under another place, and copies what the edge rejected to the dead letters', async () => {
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
    expect([...storage.committed.notes.values()]).toMatchObject([
      { from: 2, to: 2, reason: 'duplicate', chain: events[1]?.event.chain },
      { from: 5, to: 9, reason: 'expired' },
    ])
    expect(broker.dead.map((letter) => letter.headers[headers.errorCode])).toEqual(['REJECTED_AT_EDGE'])
    expect(broker.depth).toBe(0)
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

  test('a ledger entry that an earlier version could not read is accounted for when its dead letter is replayed', async () => {
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
    expect(broker.dead).toHaveLength(0)
    expect(broker.depth).toBe(0)
  })

  test('accounts for an event that breaks its schema, and gives it to the dead letters', async () => {
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
    expect(broker.dead.map((letter) => letter.headers[headers.errorCode])).toEqual(['SCHEMA_VIOLATION'])
  })

  test('an event whose place another holds becomes a dead letter', async () => {
    const { broker, storage, start } = setUp(history)
    start('a')
    broker.post(posted(new Ledger().next('device-1'), partitions))
    broker.post(posted(new Ledger().next('device-1', { id: 'other' }), partitions))
    await settled()
    expect(storage.events()).toHaveLength(1)
    expect(broker.dead.map((letter) => letter.headers[headers.errorCode])).toEqual(['LEDGER_PLACE_TAKEN'])
  })
})
