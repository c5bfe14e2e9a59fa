import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { defineConsumer } from '../../../cloud/pipeline/consumer.ts'
import { numericFields } from '../../../cloud/projections/numeric-fields.ts'
import { aggregate } from '../../../cloud/projections/rollups.ts'
import { type Delivery, readAttempt } from '../../../cloud/amqp/delivery.ts'
import { deadLetter, readFailures, retryLetter } from '../../../cloud/pipeline/letters.ts'
import { ownerOf } from '../../../cloud/groups/members.ts'
import { decide, isOutage } from '../../../cloud/pipeline/retry.ts'
import { schemaCheck } from '../../../cloud/pipeline/schema-check.ts'
import { bounded } from '../../../cloud/pipeline/timeout.ts'
import { exchangeTopology, groupTopology } from '../../../cloud/amqp/topology.ts'
import { TidegateError } from '../../../src/errors.ts'
import { headers, matchesTopic } from '../../../src/contract/wire.ts'
import { Ledger } from '../../support/cloud/cloud-events.ts'
import { FakeClock } from '../../support/fakes/clock.ts'

const error = (code: string, retryable: boolean): TidegateError =>
  new TidegateError(code, { message: code, retryable, hint: '' })
const ladder = [5_000, 30_000]

const topologyOf = (ordered: boolean) =>
  groupTopology({
    group: 'g',
    types: ['com.acme.*', '#'],
    ordered,
    ladderMs: [5_000, 60_000, 5_000],
    partitions: 2,
  })

const wanting = (...types: string[]) => defineConsumer({ group: 'g', types, handle() {} })

const delivery = (more: Partial<Delivery> = {}): Delivery => ({
  text: Buffer.from('x'),
  queue: 'g.00.v2',
  partition: 0,
  exchange: 'tidegate.events',
  routingKey: '00.com.acme.climate',
  headers: {},
  properties: { messageId: 'm' },
  attempt: 1,
  redelivered: false,
  arrivedAtMs: 0,
  lost: false,
  ack() {},
  ...more,
})

const failing = (more: Partial<Delivery>, thrown: unknown = new Error('bad')) => ({
  delivery: delivery(more),
  error: thrown,
  group: 'g',
  instance: 'i',
  nowMs: 1000,
})

const shares = (members: string[]): string[] =>
  Array.from({ length: 16 }, (_, partition) => String(ownerOf(partition, members)))

describe('decide', () => {
  test.each([
    ['a retryable error', error('X', true), 1, { kind: 'retry', delayMs: 5_000 }],
    ['a retryable error', error('X', true), 2, { kind: 'retry', delayMs: 30_000 }],
    ['a retryable error', error('X', true), 3, { kind: 'dead' }],
    ['a hopeless error', error('X', false), 1, { kind: 'dead' }],
    ['an unknown error', new TypeError('x'), 1, { kind: 'retry', delayMs: 5_000 }],
    ['something thrown', 'a string', 3, { kind: 'dead' }],
    [
      'an error that says so itself',
      Object.assign(new Error('x'), { retryable: false, code: 'MINE' }),
      1,
      { kind: 'dead' },
    ],
    [
      'a handler’s own connection',
      Object.assign(new Error('x'), { code: 'ECONNREFUSED' }),
      1,
      { kind: 'retry', delayMs: 5_000 },
    ],
  ])('%s: %o on attempt %i', (_, thrown, attempt, decision) => {
    expect(decide(thrown, attempt, ladder)).toEqual(decision)
  })

  test('is not asked about an outage, which burns no attempt', () => {
    expect(isOutage(error('DATABASE_UNREACHABLE', true))).toBe(true)
    expect(isOutage(error('SIDING_UNAVAILABLE', true))).toBe(true)
    expect(isOutage(Object.assign(new Error('x'), { code: 'DATABASE_UNREACHABLE' }))).toBe(false)
    expect(isOutage(error('X', true))).toBe(false)
  })
})

describe('the topology', () => {
  test('a rung gives letters back to the queue they failed in, and never drops one', () => {
    const { queues, exchanges, bindings } = topologyOf(true)
    const rung = queues.find(({ name }) => name === 'g.retry.5s')
    expect(rung?.arguments).toEqual({
      'x-queue-type': 'quorum',
      'x-message-ttl': 5_000,
      'x-dead-letter-exchange': '',
      'x-dead-letter-strategy': 'at-least-once',
      'x-overflow': 'reject-publish',
      'x-max-length': 1_000_000,
    })
    expect(exchanges).toContainEqual({ name: 'g.retry.5s', type: 'fanout', arguments: {} })
    expect(bindings).toContainEqual({ exchange: 'g.retry.5s', queue: 'g.retry.5s', routingKey: '' })
  })

  test('each partition has a queue per group, each type pattern a binding, and each delay one rung', () => {
    const { queues, bindings } = topologyOf(true)
    expect(queues.map(({ name }) => name)).toEqual([
      'g.00.v2',
      'g.01.v2',
      'g.retry.5s',
      'g.retry.1m',
      'g.dead',
    ])
    expect(bindings.filter(({ queue }) => queue === 'g.01.v2').map(({ routingKey }) => routingKey)).toEqual([
      '01.com.acme.*',
      '01.#',
    ])
  })

  test('ordered groups have one active consumer per partition, others do not', () => {
    expect(topologyOf(true).queues[0]?.arguments).toHaveProperty('x-single-active-consumer', true)
    expect(topologyOf(false).queues[0]?.arguments).not.toHaveProperty('x-single-active-consumer')
  })

  test('what no group wants is kept', () => {
    const { exchanges, bindings } = exchangeTopology()
    expect(exchanges).toContainEqual({
      name: 'tidegate.events',
      type: 'topic',
      arguments: { 'alternate-exchange': 'tidegate.unroutable' },
    })
    expect(bindings).toEqual([
      { exchange: 'tidegate.unroutable', queue: 'tidegate.unroutable', routingKey: '' },
    ])
  })

  test.each([
    ['a.b', 'a.b', true],
    ['a.b', 'a.b.c', false],
    ['a.*', 'a.b', true],
    ['a.*', 'a', false],
    ['a.*', 'a.b.c', false],
    ['a.#', 'a', true],
    ['a.#', 'a.b.c', true],
    ['#', 'a.b', true],
    ['#.c', 'a.b.c', true],
    ['a.#.c', 'a.c', true],
    ['a.#.c', 'a.b.b.c', true],
    ['a.#.c', 'a.b', false],
    ['a.b', 'axb', false],
  ])('%s takes %s: %s', (pattern, name, matches) => {
    expect(matchesTopic(pattern, name)).toBe(matches)
  })
})

describe('a consumer', () => {
  test('wants the gateways’ own events only if it names them', () => {
    expect(wanting('#').wants('com.acme.climate')).toBe(true)
    expect(wanting('#').wants('dev.tidegate.ledger')).toBe(false)
    expect(wanting('#', 'dev.tidegate.#').wants('dev.tidegate.ledger')).toBe(true)
    expect(wanting('com.acme.*').wants('com.other.climate')).toBe(false)
  })

  test('that asks for more time than its servers can give is refused', () => {
    const faults = /retry must list durations.*30d at most.*timeout must be a duration.*24h at most/
    expect(() =>
      defineConsumer({ group: 'g', types: ['#'], retry: ['60d'], timeout: '30d', handle() {} }),
    ).toThrow(faults)
  })

  test('that cannot work is refused with every fault', () => {
    expect(() =>
      defineConsumer({ group: 'A b', types: [], retry: ['soon'], timeout: 'long', handle() {} }),
    ).toThrow(
      expect.objectContaining({
        code: 'CONSUMER_INVALID',
        message: expect.stringMatching(/group must.*types must.*retry must.*timeout must/) as string,
      }),
    )
  })
})

describe('letters', () => {
  test('on the second rung the story still begins with the first failure', () => {
    const first = retryLetter(failing({}))
    expect(first.headers[headers.attempt]).toBe(2)
    const second = retryLetter({
      ...failing({ headers: first.headers, attempt: 2, exchange: '', routingKey: 'g.00.v2' }),
      nowMs: 9000,
    })
    expect(second.headers).toMatchObject({
      [headers.attempt]: 3,
      [headers.originalExchange]: 'tidegate.events',
      [headers.originalRoutingKey]: '00.com.acme.climate',
      [headers.firstFailedAt]: '1970-01-01T00:00:01.000Z',
      [headers.lastFailedAt]: '1970-01-01T00:00:09.000Z',
    })
    expect(readFailures(second.headers).map(({ attempt }) => attempt)).toEqual([1, 2])
  })

  test('headers stay small, whatever the error says and the publisher wrote', () => {
    const story = JSON.stringify(
      Array.from({ length: 50 }, (_, attempt) => ({ attempt, at: 't', code: 'c', message: 'm'.repeat(160) })),
    )
    const noise = { 'x-death': [{ count: 1 }], huge: 'h'.repeat(100_000), [headers.failures]: story }
    const letter = deadLetter(
      failing(
        { headers: noise },
        Object.assign(new Error('ä'.repeat(100_000)), { code: 'C'.repeat(100_000) }),
      ),
    )
    expect(JSON.stringify(letter.headers).length).toBeLessThan(8_192)
    expect(Buffer.byteLength(String(letter.headers[headers.errorMessage]))).toBeLessThanOrEqual(1024)
    expect(String(letter.headers[headers.errorMessage])).toMatch(/^ä+…$/)
    expect(letter.headers).not.toHaveProperty('x-death')
  })

  test('what the publisher wrote is kept, and what is no story is none', () => {
    expect(deadLetter(failing({ headers: { mine: 1 } })).headers).toMatchObject({ mine: 1 })
    expect(readFailures({ [headers.failures]: '{' })).toEqual([])
    expect(
      [undefined, 0, -1, 1.5, '2', 3].map((attempt) => readAttempt({ [headers.attempt]: attempt })),
    ).toEqual([1, 1, 1, 1, 1, 3])
  })
})

describe('rollups', () => {
  test('take numbers by dotted path, four levels deep and 64 at most', () => {
    expect(
      numericFields({ a: 1, b: { c: 2, d: { e: { f: 3, g: { h: 4 } } } }, i: '5', j: [6], k: null }),
    ).toEqual([
      ['a', 1],
      ['b.c', 2],
      ['b.d.e.f', 3],
    ])
    expect(numericFields(7)).toEqual([['value', 7]])
    expect(numericFields({ n: Number.POSITIVE_INFINITY })).toEqual([])
    expect(
      numericFields(Object.fromEntries(Array.from({ length: 99 }, (_, n) => [`f${n}`, n]))),
    ).toHaveLength(64)
  })

  test('go by the gateway’s clock when the device’s is implausible', () => {
    const ledger = new Ledger()
    const { event } = ledger.next('d', { time: '1970-01-01T00:00:00Z', timestatus: 'implausible', data: 1 })
    expect(aggregate([event]).map(({ bucketMs }) => bucketMs)).toEqual([
      Date.parse('2026-01-01T00:00:00Z'),
      Date.parse('2026-01-01T00:00:00Z'),
    ])
  })

  test('agree with a naive count of every point (model)', () => {
    const point = fc.record({
      device: fc.constantFrom('a', 'b'),
      minute: fc.integer({ min: 0, max: 3 }),
      value: fc.integer({ min: -50, max: 50 }),
    })
    fc.assert(
      fc.property(fc.array(point, { minLength: 1, maxLength: 60 }), (points) => {
        const ledger = new Ledger()
        const startMs = Date.UTC(2026, 0, 1)
        const events = points.map(
          ({ device, minute, value }, index) =>
            ledger.next(device, {
              time: new Date(startMs + minute * 60_000 + index).toISOString(),
              data: { t: value },
            }).event,
        )
        const minutes = aggregate(events).filter(({ width }) => width === 'minute')
        expect(minutes.reduce((sum, { count }) => sum + count, 0)).toBe(points.length)
        for (const rollup of minutes) {
          const values = points
            .filter(
              ({ device, minute }) =>
                device === rollup.device && startMs + minute * 60_000 === rollup.bucketMs,
            )
            .map(({ value }) => value)
          expect(rollup).toMatchObject({
            count: values.length,
            min: Math.min(...values),
            max: Math.max(...values),
            sum: values.reduce((sum, value) => sum + value, 0),
            last: values.at(-1),
          })
        }
      }),
    )
  })
})

describe('the cloud’s schema check', () => {
  const registry = {
    latest: () => 1,
    has: (_: string, version: number) => version === 1,
    faults: (_: string, __: number, data: unknown) => (data === 'good' ? [] : ['data: is not good']),
    types: [],
  }
  const code = (more: object, unchecked: 'accept' | 'reject' = 'accept') =>
    schemaCheck(registry, unchecked)(new Ledger().next('d', { data: 'good', ...more }).event)?.code

  test.each([
    [{ dataschema: 'com.acme.climate/1' }, undefined],
    [{ dataschema: 'com.acme.climate/1', data: 'bad' }, 'SCHEMA_VIOLATION'],
    [{ dataschema: 'com.acme.other/1' }, 'SCHEMA_VIOLATION'],
    [{ dataschema: 'com.acme.climate/2' }, 'SCHEMA_UNKNOWN'],
    [{ dataschema: 'nonsense' }, 'SCHEMA_UNKNOWN'],
    [{}, undefined],
    [{ type: 'dev.tidegate.ledger', dataschema: 'nonsense' }, undefined],
  ])('%o: %s', (more, expected) => {
    expect(code(more)).toBe(expected)
  })

  test('refuses what names no schema when told to', () => {
    expect(code({}, 'reject')).toBe('SCHEMA_MISSING')
  })
})

test('members get even shares, and all agree on them', () => {
  expect(shares(['b', 'a', 'c'])).toEqual(shares(['c', 'b', 'a']))
  const perMember = ['a', 'b', 'c'].map(
    (member) => shares(['a', 'b', 'c']).filter((owner) => owner === member).length,
  )
  expect(perMember.toSorted((a, b) => a - b)).toEqual([5, 5, 6])
})

test('bounded work leaves nothing waiting behind, however it ends', async () => {
  const clock = new FakeClock()
  const parent = new AbortController()
  const options = { timeoutMs: 100, parent: parent.signal, clock }
  await expect(bounded(() => 1, options)).resolves.toBe(1)
  await expect(
    bounded(() => {
      throw new Error('sync')
    }, options),
  ).rejects.toThrow('sync')
  const late = bounded(() => new Promise(() => {}), options)
  const [outcome] = await Promise.all([late.catch((error: unknown) => error), clock.advance(100)])
  expect(outcome).toMatchObject({ code: 'HANDLER_TIMEOUT', retryable: true })
  const stopped = bounded(() => new Promise(() => {}), options)
  parent.abort(new Error('stop'))
  await expect(stopped).rejects.toThrow('stop')
  await expect(bounded(() => 1, options)).rejects.toThrow('stop')
  expect(clock.waiting).toBe(0)
})
