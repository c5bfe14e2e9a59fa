import { nothingDiverted } from '../../../cloud/parking/yard.ts'
import { pino } from 'pino'
import { describe, expect, test } from 'vitest'
import type { Delivery, Siding } from '../../../cloud/amqp/delivery.ts'
import { type Aside, createAside } from '../../../cloud/pipeline/aside.ts'
import { defineConsumer } from '../../../cloud/pipeline/consumer.ts'
import { configured } from '../../../cloud/pipeline/definition.ts'
import { createHolding, type Holding } from '../../../cloud/pipeline/holding.ts'
import type { Parcel } from '../../../cloud/pipeline/judge.ts'
import { divide } from '../../../cloud/pipeline/batch.ts'
import { noObserver, type Outcome } from '../../../cloud/pipeline/observer.ts'
import { createSettlement } from '../../../cloud/pipeline/settlement.ts'
import { TidegateError } from '../../../src/errors.ts'
import { FakeClock, settled } from '../../support/fakes/clock.ts'
import { createFakeStorage, fakeDeadLetters, unreachable } from '../../support/fakes/storage.ts'

const group = 'g'

function delivery(more: Partial<Delivery> = {}): Delivery & { acks: number } {
  const made = {
    text: Buffer.from('{}'),
    queue: 'g.00.v2',
    partition: 0,
    exchange: 'tidegate.events',
    routingKey: '00.com.acme.climate',
    headers: {},
    properties: {},
    propertyBlock: Buffer.alloc(0),
    attempt: 1,
    redelivered: false,
    arrivedAtMs: 0,
    lost: false,
    acks: 0,
    ack() {
      made.acks += 1
    },
    ...more,
  }
  return made
}

function parts() {
  const clock = new FakeClock()
  const stop = new AbortController()
  const lines: string[] = []
  const outcomes: Outcome[] = []
  const sent: Siding[] = []
  /** What the sidings do with a letter: as they are by default, take it. */
  const answer: { send: () => Promise<void> } = { send: async () => {} }
  const observer = { ...noObserver, settled: (_: string, outcome: Outcome) => void outcomes.push(outcome) }
  const log = pino(
    { level: 'info' },
    { write: (line) => void lines.push((JSON.parse(line) as { msg: string }).msg) },
  )
  const settlement = createSettlement({ group, observer, stopping: stop.signal })
  const holding: Holding = createHolding({
    group,
    clock,
    random: () => 0.5,
    log,
    observer,
    stopping: stop.signal,
  })
  const storage = createFakeStorage()
  const aside: Aside = createAside({
    consumer: configured(defineConsumer({ group, types: ['#'], onFailure: 'overtake', handle() {} }), {
      ladderMs: [5_000],
      timeoutMs: 1_000,
    }),
    instance: 'i',
    storage,
    letters: { lettersIn: fakeDeadLetters, full: () => undefined, mirror: () => {} },
    sidings: {
      async send(siding) {
        await answer.send()
        sent.push(siding)
      },
      close: async () => {},
    },
    yard: {
      divert: async () => nothingDiverted,
      committed() {},
      park: () => Promise.reject(new Error('nothing is parked')),
    },
    settlement,
    holding,
    clock,
    random: () => 0.5,
    log,
    observer,
    cutOff: new AbortController().signal,
  })
  return { clock, stop, lines, outcomes, sent, answer, settlement, holding, storage, aside }
}

const failure = new TidegateError('SENSOR_ODD', { message: 'odd', retryable: true, hint: '' })

describe('a delivery that is put aside', () => {
  test('is acknowledged when its letter is proven, and not before (G5)', async () => {
    const { aside, answer, outcomes } = parts()
    const prove: (() => void)[] = []
    answer.send = () => new Promise((resolve) => prove.push(resolve))
    const one = delivery()
    const putting = aside.put(one, failure, undefined)
    await settled()
    expect(one.acks).toBe(0)
    prove[0]?.()
    await putting
    expect(one.acks).toBe(1)
    expect(outcomes).toEqual(['retried'])
  })

  test('goes back to the queue it came from, and from the last rung to the dead letters (G5)', async () => {
    const { aside, sent, storage, outcomes } = parts()
    await aside.put(delivery(), failure, undefined)
    await aside.put(delivery({ attempt: 2 }), failure, undefined)
    expect(sent).toEqual([{ group, queue: 'g.00.v2', delayMs: 5_000 }])
    expect(storage.dead()).toMatchObject([{ group, attempts: 2, code: 'SENSOR_ODD', queue: 'g.00.v2' }])
    expect(outcomes).toEqual(['retried', 'dead'])
  })

  test('waits while the sidings cannot be reached, and is left to the broker when it is taken back meanwhile (G5, G6)', async () => {
    const { aside, answer, clock, holding, sent } = parts()
    answer.send = () => Promise.reject(unreachable())
    const mutable: { lost: boolean } = { lost: false }
    const one = delivery()
    Object.defineProperty(one, 'lost', { get: () => mutable.lost })
    const putting = aside.put(one, failure, undefined)
    await clock.advance(50)
    expect(holding.heldBy?.code).toBe('DATABASE_UNREACHABLE')
    mutable.lost = true
    await clock.advance(10_000)
    await putting
    expect(holding.heldBy).toBeUndefined()
    expect(one.acks).toBe(0)
    expect(sent).toEqual([])
  })

  test('that fails for another reason than an outage is a fault in Tidegate', async () => {
    const { aside, answer } = parts()
    answer.send = () => Promise.reject(new Error('a bug'))
    await expect(aside.put(delivery(), failure, undefined)).rejects.toThrow('a bug')
  })
})

describe('who meets an outage', () => {
  test('is told of once, however many wait, and once more when none does', async () => {
    const { clock, holding, lines } = parts()
    const [one, other] = [holding.createWait(), holding.createWait()]
    const waiting = [one.out(unreachable(), 1), other.out(unreachable(), 1)]
    await clock.advance(10_000)
    await Promise.all(waiting)
    expect(lines).toEqual(['holding deliveries until an outage is over: the database is down'])
    one.end()
    expect(holding.heldBy?.code).toBe('DATABASE_UNREACHABLE')
    expect(lines).toHaveLength(1)
    other.end()
    other.end()
    expect(holding.heldBy).toBeUndefined()
    expect(lines.slice(1)).toEqual(['no longer holding deliveries'])
  })

  test('waits no longer than until the pipeline stops', async () => {
    const { stop, holding } = parts()
    const waiting = holding.createWait().out(unreachable(), 9)
    stop.abort()
    await expect(waiting).resolves.toBeUndefined()
  })
})

test('nothing is begun with a delivery that the broker has taken back, or once the pipeline stops (G6)', () => {
  const { settlement, stop } = parts()
  expect(settlement.isLive(delivery())).toBe(true)
  expect(settlement.isLive(delivery({ lost: true }))).toBe(false)
  stop.abort()
  expect(settlement.isLive(delivery())).toBe(false)
})

describe('a run that failed is divided', () => {
  const run = ['a', 'b', 'c', 'd', 'e'] as unknown as Parcel[]
  const divided = (count: number, culprit: number | undefined) => {
    const blamed: Parcel[] = []
    const blame = (parcel: Parcel): string[] => {
      blamed.push(parcel)
      return ['blamed']
    }
    return { runs: divide(run.slice(0, count), culprit, blame), blamed }
  }

  test('around the culprit, if it is known', () => {
    expect(divided(5, 1)).toEqual({ runs: [['a'], 'blamed', ['c', 'd', 'e']], blamed: ['b'] })
  })

  test('in halves and in order while nobody knows it (G6)', () => {
    expect(divided(5, undefined)).toEqual({
      runs: [
        ['a', 'b'],
        ['c', 'd', 'e'],
      ],
      blamed: [],
    })
  })

  test('not at all when one stands alone: it is the culprit', () => {
    expect(divided(1, undefined)).toEqual({ runs: [[], 'blamed', []], blamed: ['a'] })
  })
})
