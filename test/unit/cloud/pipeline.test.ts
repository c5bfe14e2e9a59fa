import { describe, expect, test } from 'vitest'
import {
  type Consumer,
  defineConsumer,
  type SingleConsumerOptions,
} from '../../../cloud/pipeline/consumer.ts'
import { configured } from '../../../cloud/pipeline/definition.ts'
import { historyConsumer } from '../../../cloud/history/consumer.ts'
import { noObserver } from '../../../cloud/pipeline/observer.ts'
import { createPipeline, type Pipeline, type PipelineOptions } from '../../../cloud/pipeline/pipeline.ts'
import { noSchemaCheck } from '../../../cloud/pipeline/schema-check.ts'
import { TidegateError } from '../../../src/errors.ts'
import { silentLog } from '../../../src/log.ts'
import { headers } from '../../../src/contract/wire.ts'
import { Ledger, posted } from '../../support/cloud/cloud-events.ts'
import { FakeClock, settled } from '../../support/fakes/clock.ts'
import { createFakeBroker, type FakeBrokerOptions } from '../../support/fakes/deliveries.ts'
import {
  createFakeStorage,
  fakeHistory,
  type FakeStorageOptions,
  unreachable,
} from '../../support/fakes/storage.ts'

const partitions = 4
const defaults = { ladderMs: [5_000, 30_000], timeoutMs: 30_000 }
const history = historyConsumer(fakeHistory)

interface Setup {
  pipeline?: Partial<PipelineOptions>
  storage?: FakeStorageOptions
  broker?: Partial<FakeBrokerOptions>
}

function setUp(consumer: Consumer, { pipeline, storage: storageOptions, broker: brokerOptions }: Setup = {}) {
  const clock = new FakeClock()
  const storage = createFakeStorage(storageOptions)
  const broker = createFakeBroker({ group: consumer.group, partitions, clock, ...brokerOptions })
  const start = (instance: string): { pipeline: Pipeline; deliveries: ReturnType<typeof broker.connect> } => {
    const started = createPipeline({
      consumer: configured(consumer, defaults),
      storage,
      sidings: broker.sidings,
      checkSchema: noSchemaCheck,
      batchMax: 20,
      batchTimeTargetMs: 1000,
      lanes: 2,
      instance,
      clock,
      random: () => 0.5,
      log: silentLog,
      observer: noObserver,
      onFatal: (error) => {
        throw error
      },
      ...pipeline,
    })
    const deliveries = broker.connect()
    deliveries.start((delivery) => started.take(delivery))
    return { pipeline: started, deliveries }
  }
  return { clock, storage, broker, start }
}

/** Writes each event into the transaction. */
function writing(more: Partial<SingleConsumerOptions> = {}): Consumer {
  return defineConsumer({
    group: 'writer',
    types: ['#'],
    async handle(event, { tx }) {
      await tx.query('insert', [event.partitionkey, event.sequence])
    },
    ...more,
  })
}

/** A promise and who resolves it. */
function gate(): { promise: Promise<void>; release: () => void } {
  const resolvers: (() => void)[] = []
  const promise = new Promise<void>((resolve) => resolvers.push(resolve))
  return { promise, release: () => resolvers.forEach((resolve) => resolve()) }
}

const failure = (retryable: boolean): TidegateError =>
  new TidegateError('SENSOR_ODD', { message: 'the sensor is odd', retryable, hint: 'look at it' })

describe('the pipeline', () => {
  test('an event that is delivered twice has one effect', async () => {
    const { broker, storage, start } = setUp(writing())
    start('a')
    const event = posted(new Ledger().next('device-1'), partitions)
    broker.post(event)
    broker.post(event)
    await settled()
    expect(storage.effects()).toHaveLength(1)
    expect(broker.depth).toBe(0)
  })

  test('a handler that fails twice and then succeeds is tried three times at the delays of the ladder, with one effect', async () => {
    const triedAtMs: number[] = []
    const attempts: number[] = []
    const consumer = writing({
      async handle(event, { tx, attempt }) {
        await tx.query('insert', [event.id])
        triedAtMs.push(clock.monotonicMs())
        attempts.push(attempt)
        if (attempt < 3) throw failure(true)
      },
    })
    const { broker, clock, storage, start } = setUp(consumer)
    start('a')
    broker.post(posted(new Ledger().next('device-1'), partitions))
    await settled()
    await clock.advance(60_000)
    expect(triedAtMs).toEqual([0, 5_000, 35_000])
    expect(attempts).toEqual([1, 2, 3])
    expect(storage.effects()).toHaveLength(1)
    expect(broker.dead).toHaveLength(0)
  })

  test('a handler that always fails leaves a dead letter that tells the whole story', async () => {
    const { broker, clock, storage, start } = setUp(
      writing({
        handle() {
          throw failure(true)
        },
      }),
    )
    start('instance-a')
    const message = posted(new Ledger().next('device-1'), partitions)
    broker.post(message)
    await settled()
    await clock.advance(60_000)
    const [letter] = broker.dead
    expect(broker.dead).toHaveLength(1)
    expect(letter?.body.toString()).toBe(message.text)
    expect(letter?.properties).toEqual(message.properties)
    expect(letter?.headers).toMatchObject({
      [headers.group]: 'writer',
      [headers.attempt]: 3,
      [headers.errorCode]: 'SENSOR_ODD',
      [headers.errorMessage]: 'the sensor is odd',
      [headers.originalExchange]: 'tidegate.events',
      [headers.originalRoutingKey]: message.routingKey,
      [headers.firstFailedAt]: '2026-01-01T00:00:00.000Z',
      [headers.lastFailedAt]: '2026-01-01T00:00:35.000Z',
      [headers.instance]: 'instance-a',
    })
    expect(JSON.parse(String(letter?.headers[headers.failures]))).toHaveLength(3)
    expect(storage.effects()).toHaveLength(0)
    expect(broker.depth).toBe(0)
  })

  test('what cannot succeed becomes a dead letter at once', async () => {
    const { broker, start } = setUp(
      writing({
        handle() {
          throw failure(false)
        },
      }),
    )
    start('a')
    broker.post(posted(new Ledger().next('device-1'), partitions))
    await settled()
    expect(broker.retries).toHaveLength(0)
    expect(broker.dead).toHaveLength(1)
  })

  test.each([
    ['undefined', undefined, 'undefined was thrown'],
    ['null', null, 'null was thrown'],
    ['what has no text', Object.create(null), 'something without a text was thrown'],
    ['an error whose message is none', Object.assign(new Error('x'), { message: 7 }), '7'],
  ])('a consumer that throws %s puts its event aside and ends nothing', async (_, what, message) => {
    const fatal: unknown[] = []
    const onFatal = (error: unknown): void => void fatal.push(error)
    for (const consumer of [
      writing({ retry: [], handle: () => Promise.reject(what) }),
      defineConsumer({
        group: 'writer',
        types: ['#'],
        retry: [],
        handleBatch() {},
        inspect() {
          throw what
        },
      }),
    ]) {
      const { broker, start } = setUp(consumer, { pipeline: { onFatal } })
      start('a')
      broker.post(posted(new Ledger().next('device-1'), partitions))
      await settled()
      expect(broker.dead.map((letter) => letter.headers[headers.errorMessage])).toEqual([message])
      expect(broker.depth).toBe(0)
    }
    expect(fatal).toEqual([])
  })

  test('a message that is no event becomes a dead letter and holds nobody up', async () => {
    const { broker, storage, start } = setUp(writing())
    start('a')
    broker.post({ text: 'not JSON', partition: 1 })
    broker.post({ ...posted(new Ledger().next('device-1'), partitions), partition: 1 })
    await settled()
    expect(broker.dead.map((letter) => letter.headers[headers.errorCode])).toEqual(['EVENT_UNREADABLE'])
    expect(storage.effects()).toHaveLength(1)
  })

  test.each(['single', 'batch'] as const)(
    'one bad event in a batch is put aside alone, and all others have their effect (%s)',
    async (kind) => {
      const handlers = {
        single: writing({
          async handle(event, { tx }) {
            if (event.sequence === 7) throw failure(false)
            await tx.query('insert', [event.sequence])
          },
        }),
        batch: defineConsumer({
          group: 'writer',
          types: ['#'],
          async handleBatch(entries, { tx }) {
            for (const { event } of entries) {
              if (event.sequence === 7) throw failure(false)
              await tx.query('insert', [event.sequence])
            }
          },
        }),
      }
      const { broker, storage, start } = setUp(handlers[kind])
      const ledger = new Ledger()
      for (let index = 0; index < 15; index++) broker.post(posted(ledger.next('device-1'), partitions))
      start('a')
      await settled()
      await settled()
      const sequences = storage.effects().map(({ params }) => params[0])
      expect(sequences).toEqual([1, 2, 3, 4, 5, 6, 8, 9, 10, 11, 12, 13, 14, 15])
      expect(broker.dead).toHaveLength(1)
      expect(broker.depth).toBe(0)
    },
  )

  test('a database that is down burns no attempt and loses nothing', async () => {
    const { broker, clock, storage, start } = setUp(writing())
    const { pipeline } = start('a')
    storage.down = true
    const ledger = new Ledger()
    for (let index = 0; index < 30; index++) broker.post(posted(ledger.next(`device-${index}`), partitions))
    await settled()
    await clock.advance(600_000)
    expect(pipeline.heldBy).toBe('DATABASE_UNREACHABLE')
    expect(broker.depth).toBe(30)
    storage.down = false
    await clock.advance(10_000)
    expect(storage.effects()).toHaveLength(30)
    expect(broker.retries).toHaveLength(0)
    expect(broker.dead).toHaveLength(0)
    expect(broker.depth).toBe(0)
    expect(pipeline.heldBy).toBeUndefined()
  })

  test('a commit nobody learned of is not repeated', async () => {
    let commits = 0
    const { broker, clock, storage, start } = setUp(writing(), {
      storage: {
        at(point) {
          if (point === 'after-commit' && ++commits === 1) throw unreachable()
        },
      },
    })
    start('a')
    broker.post(posted(new Ledger().next('device-1'), partitions))
    await settled()
    await clock.advance(10_000)
    expect(storage.effects()).toHaveLength(1)
    expect(broker.depth).toBe(0)
  })

  test('while no siding takes a failed event, it is held and not lost', async () => {
    const { broker, clock, start } = setUp(
      writing({
        handle() {
          throw failure(false)
        },
      }),
    )
    start('a')
    broker.sidingsDown = true
    broker.post(posted(new Ledger().next('device-1'), partitions))
    await clock.advance(60_000)
    expect(broker.depth).toBe(1)
    broker.sidingsDown = false
    await clock.advance(10_000)
    expect(broker.dead).toHaveLength(1)
    expect(broker.dead[0]?.headers[headers.attempt]).toBe(1)
    expect(broker.depth).toBe(0)
  })

  test('a hung handler is timed out and retried, its effects are undone, and the others go on', async () => {
    const hung = new Set<number>()
    const { broker, clock, storage, start } = setUp(
      writing({
        async handle(event, { tx, attempt }) {
          await tx.query('insert', [event.sequence])
          if (event.sequence === 2 && attempt === 1) {
            hung.add(event.sequence)
            await new Promise(() => {})
          }
        },
      }),
    )
    start('a')
    const ledger = new Ledger()
    for (let index = 0; index < 4; index++) broker.post(posted(ledger.next('device-1'), partitions))
    await settled()
    await clock.advance(29_000)
    expect(hung.size).toBe(1)
    expect(storage.effects()).toHaveLength(0)
    await clock.advance(2_000)
    expect(storage.effects().map(({ params }) => params[0])).toEqual([1, 3, 4])
    expect(broker.retries).toHaveLength(1)
    await clock.advance(10_000)
    expect(storage.effects().map(({ params }) => params[0])).toEqual([1, 3, 4, 2])
  })

  test.each([
    ['hangs', unreachable()],
    [
      'takes no new sessions',
      new TidegateError('DATABASE_REFUSED', { message: 'no', retryable: false, hint: 'mend it' }),
    ],
  ])('a handler that hangs because the database %s burns no attempt', async (_, found) => {
    const { promise, release: recover } = gate()
    let outage: Promise<void> | undefined = promise
    const { broker, clock, storage, start } = setUp(writing(), {
      storage: {
        async at(point) {
          if (point === 'probe' && outage) throw found
          if (point === 'query') await outage
        },
      },
    })
    start('a')
    broker.post(posted(new Ledger().next('device-1'), partitions))
    await settled()
    await clock.advance(70_000)
    outage = undefined
    recover()
    await settled()
    await clock.advance(40_000)
    expect(storage.effects()).toHaveLength(1)
    expect(broker.retries).toHaveLength(0)
    expect(broker.dead).toHaveLength(0)
  })

  test('a handler that swallows a failed query is the one to blame', async () => {
    const { broker, storage, start } = setUp(
      writing({
        retry: [],
        async handle(event, { tx }) {
          if (event.sequence === 1) await tx.query('FAIL').catch(() => {})
          else await tx.query('insert', [event.sequence])
        },
      }),
    )
    const ledger = new Ledger()
    for (let index = 0; index < 3; index++) broker.post(posted(ledger.next('device-1'), partitions))
    start('a')
    await settled()
    expect(broker.dead.map((letter) => letter.headers[headers.errorCode])).toEqual(['TRANSACTION_SPOILT'])
    expect(storage.effects()).toHaveLength(2)
  })

  test('when an instance dies its partitions go on elsewhere, in order and without a second effect', async () => {
    const begunAfterLoss: number[] = []
    const consumer = writing({
      async handle(event, { tx, delivery }) {
        if (delivery.lost) begunAfterLoss.push(event.sequence)
        await tx.query('insert', [event.partitionkey, event.sequence])
      },
    })
    const { promise: slow, release } = gate()
    let begun = 0
    const { broker, storage, start } = setUp(consumer, {
      pipeline: { batchMax: 2 },
      storage: {
        async at(point) {
          if (point === 'begin' && ++begun === 2) await slow
        },
      },
    })
    const ledger = new Ledger()
    for (let index = 0; index < 10; index++) broker.post(posted(ledger.next('device-1'), partitions))
    const first = start('a')
    start('b')
    await settled()
    first.deliveries.drop()
    release()
    await settled()
    expect(storage.effects().map(({ params }) => params[1])).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10])
    // The batch under way may end; another begun by the one that lost the partition could overtake its successor.
    expect(begunAfterLoss).toEqual([3, 4])
    expect(broker.depth).toBe(0)
  })

  test('closing settles the batch under way and begins no other', async () => {
    const { promise: slow, release } = gate()
    const { broker, storage, start } = setUp(writing(), {
      pipeline: { batchMax: 1, lanes: 1 },
      storage: {
        async at(point) {
          if (point === 'commit') await slow
        },
      },
    })
    const { pipeline, deliveries } = start('a')
    const ledger = new Ledger()
    for (let index = 0; index < 3; index++) broker.post(posted(ledger.next('device-1'), partitions))
    await settled()
    deliveries.stop()
    const closed = pipeline.close()
    release()
    await closed
    expect(storage.effects()).toHaveLength(1)
    expect(broker.depth).toBe(2)
    await pipeline.close()
  })

  test('closing cuts off a handler that hangs, and its delivery stays with the broker', async () => {
    const { broker, clock, start } = setUp(writing({ handle: () => new Promise<void>(() => {}) }))
    const { pipeline } = start('a')
    broker.post(posted(new Ledger().next('device-1'), partitions))
    await settled()
    const closed = pipeline.close(1000)
    await clock.advance(1000)
    await closed
    expect(broker.depth).toBe(1)
    expect(broker.retries).toHaveLength(0)
  })

  test('a group that asks for devices’ events is not given the gateways’ own', async () => {
    const { broker, storage, start } = setUp(writing())
    start('a')
    const ledger = new Ledger()
    broker.post(posted(ledger.next('device-1', { type: 'dev.tidegate.rejected' }), partitions))
    await settled()
    expect(storage.effects()).toHaveLength(0)
    expect(broker.depth).toBe(0)
  })
})

describe('the history', () => {
  test('keeps the wire text, notes a repeat under another place, and copies what the edge rejected to the dead letters', async () => {
    const { broker, storage, start } = setUp(history)
    start('a')
    const ledger = new Ledger()
    const events = [
      ledger.next('device-1'),
      ledger.next('device-1', { id: 'id-1' }),
      ledger.next('device-1', {
        type: 'dev.tidegate.rejected',
        data: { reason: 'MALFORMED_JSON', detail: 'no JSON' },
      }),
      ledger.next('device-1', {
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

  test('a ledger entry that an earlier version could not read is accounted for when its dead letter is replayed', async () => {
    const { broker, storage, start } = setUp(history)
    const ledger = new Ledger()
    const entry = ledger.next('device-1', {
      type: 'dev.tidegate.ledger',
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
