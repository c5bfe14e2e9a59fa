import { pino } from 'pino'
import { describe, expect, test } from 'vitest'
import type { Delivery } from '../../../cloud/amqp/delivery.ts'
import { createFailureLog } from '../../../cloud/letters/failure-log.ts'
import { TidegateError } from '../../../src/errors.ts'
import { Ledger } from '../../support/cloud/cloud-events.ts'
import { FakeClock } from '../../support/fakes/clock.ts'

const delivery = { attempt: 2, properties: { messageId: 'm-1', appId: 'gateway-1' } } as unknown as Delivery
const { event } = new Ledger().next('device-1')

function listen() {
  const clock = new FakeClock()
  const texts: string[] = []
  const tell = createFailureLog(
    pino({}, { write: (line) => void texts.push(line) }).child({ group: 'g' }),
    clock,
  )
  const lines = (): Record<string, unknown>[] =>
    texts.map((text) => JSON.parse(text) as Record<string, unknown>)
  return { clock, tell, lines, texts }
}

const coded = (code: string): Error => Object.assign(new Error('x'), { code })

describe('the log of attempts that failed', () => {
  test('says which event of which device failed why and where, and what follows', () => {
    const { tell, lines, texts } = listen()
    tell({ delivery, event, error: new TypeError('no bar'), outcome: { kind: 'retry', delayMs: 5_000 } })
    tell({ delivery, event, error: new TypeError('no bar'), outcome: { kind: 'dead' } })
    expect(lines()[0]).toMatchObject({
      level: 40,
      group: 'g',
      code: 'UNEXPECTED',
      device: 'device-1',
      id: event.id,
      type: event.type,
      gateway: event.gateway,
      attempt: 2,
      retryInMs: 5_000,
      stack: expect.stringMatching(/^at .*failure-log\.test\.ts/) as string,
      msg: 'an attempt failed, and it is tried again: no bar',
    })
    expect(lines()[1]).toMatchObject({ msg: 'an attempt failed, and the event is a dead letter now: no bar' })
    expect(texts[0]?.match(/"group"/g)).toHaveLength(1)
  })

  test('tells the first of a kind with its stack, then one in 10 s, and how many it leaves out', async () => {
    const { clock, tell, lines } = listen()
    const other = new Ledger().next('device-2').event
    for (let index = 0; index < 1_000; index++)
      tell({
        delivery,
        event: index % 2 ? event : other,
        error: new Error(`${index}`),
        outcome: { kind: 'dead' },
      })
    expect(lines()).toMatchObject([{ device: 'device-2', stack: expect.stringMatching(/^at /) as string }])
    await clock.advance(10_000)
    for (let index = 0; index < 2; index++)
      tell({ delivery, event, error: new Error('x'), outcome: { kind: 'dead' } })
    // Thrown at another line, and so another kind.
    expect(lines().map((line) => line['alikeBefore'])).toEqual([undefined, undefined])
    tell({ delivery, event, error: coded('OTHER'), outcome: { kind: 'dead' } })
    expect(lines()).toHaveLength(3)
  })

  test('has the stack of a kind again a day later, and no sooner', async () => {
    const { clock, tell, lines } = listen()
    const fail = (): void => tell({ delivery, event, error: new Error('again'), outcome: { kind: 'dead' } })
    for (const waitMs of [10_000, 10_000, 86_400_000, 10_000]) {
      fail()
      fail()
      await clock.advance(waitMs)
    }
    expect(lines().map((line) => ['stack' in line, line['alikeBefore']])).toEqual([
      [true, undefined],
      [false, 1],
      [false, 1],
      [true, 1],
    ])
  })

  test('says of an event that was stored with its fault that it was', () => {
    const { tell, lines } = listen()
    const error = new TidegateError('REJECTED_AT_EDGE', { message: 'no JSON', retryable: false, hint: '' })
    tell({ delivery, event, error, outcome: { kind: 'recorded' } })
    expect(lines()).toMatchObject([
      { code: 'REJECTED_AT_EDGE', device: 'device-1', msg: 'an event was stored with its fault: no JSON' },
    ])
    expect(lines()[0]).not.toHaveProperty('stack')
  })

  test('is not filled by a device whose failures have ever new codes, and no other is left out for it', async () => {
    const { clock, tell, lines } = listen()
    for (let index = 0; index < 1_000; index++)
      tell({ delivery, event, error: coded(`CODE_${index}`), outcome: { kind: 'retry', delayMs: 1 } })
    tell({
      delivery,
      event: new Ledger().next('device-2').event,
      error: coded('CODE_OWN'),
      outcome: { kind: 'retry', delayMs: 1 },
    })
    expect(lines()).toHaveLength(61)
    await clock.advance(60_000)
    tell({ delivery, event, error: coded('CODE'), outcome: { kind: 'retry', delayMs: 1 } })
    expect(lines().at(-1)).toMatchObject({ othersBefore: 940 })
  })

  test('tells of a device’s failures of a kind though another, which is silenced, has the same all the time', async () => {
    const { clock, tell, lines } = listen()
    const other = new Ledger().next('device-2').event
    const outcome = { kind: 'dead' } as const
    for (let index = 0; index < 60; index++) tell({ delivery, event, error: coded(`CODE_${index}`), outcome })
    const shared = coded('SHARED')
    for (let second = 0; second < 50; second++) {
      tell({ delivery, event, error: shared, outcome })
      tell({ delivery, event: other, error: shared, outcome })
      await clock.advance(1_000)
    }
    expect(
      lines()
        .slice(60)
        .map((line) => [line['device'], line['alikeBefore']]),
    ).toEqual([['device-2', undefined], ...Array.from({ length: 4 }, () => ['device-2', 9])])
    await clock.advance(10_000)
    tell({ delivery, event, error: shared, outcome })
    expect(lines().at(-1)).toMatchObject({ device: 'device-1', othersBefore: 50 })
  })

  test('of a device whose failures are of one kind has room for another kind', () => {
    const { tell, lines } = listen()
    const outcome = { kind: 'dead' } as const
    const often = coded('OFTEN')
    for (let index = 0; index < 1_000; index++) tell({ delivery, event, error: often, outcome })
    tell({ delivery, event, error: coded('SELDOM'), outcome })
    expect(lines().map((line) => line['code'])).toEqual(['OFTEN', 'SELDOM'])
  })

  test('has no line of a message for a place', () => {
    const { tell, lines } = listen()
    const error = new Error('no\n    at the sea (forged.js:1:1)\n    at all')
    tell({ delivery, event, error, outcome: { kind: 'retry', delayMs: 1 } })
    expect(lines()[0]?.['stack']).toMatch(/^at .*failure-log\.test\.ts/)
    expect(lines()[0]?.['stack']).not.toContain('forged')
  })

  test('names what could not be read by what its publisher says of it', () => {
    const { tell, lines } = listen()
    tell({ delivery, event: undefined, error: new Error('x'), outcome: { kind: 'dead' } })
    expect(lines()[0]).toMatchObject({ id: 'm-1', gateway: 'gateway-1' })
  })
})
