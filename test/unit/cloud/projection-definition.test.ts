import { describe, expect, test } from 'vitest'
import { defineProjection, type ProjectionOptions } from '../../../cloud/projections/definition.ts'
import { isTemporary, poisonOf } from '../../../cloud/projections/poison.ts'
import { createRate } from '../../../cloud/projections/pace.ts'
import { TidegateError } from '../../../src/errors.ts'
import { Ledger } from '../../support/cloud/cloud-events.ts'
import { FakeClock } from '../../support/fakes/clock.ts'

const good: ProjectionOptions = {
  name: 'energy',
  version: 1,
  events: ['com.acme.power'],
  tables: 'create table energy (device text)',
  apply() {},
}
const refusalOf = (options: object): string => {
  try {
    defineProjection(options as ProjectionOptions)
    return ''
  } catch (error) {
    return error instanceof TidegateError ? `${error.code}: ${error.message}` : String(error)
  }
}

describe('a projection', () => {
  test('that cannot be one is refused with every fault, and an unknown option with the one that was meant', () => {
    expect(refusalOf({ ...good, name: 'Energy 1', version: 0, timeout: 'soon', keyColumn: 'a b' })).toMatch(
      /^PROJECTION_INVALID: .*name must match.*version must be.*keyColumn must be.*timeout must be/,
    )
    expect(refusalOf({ ...good, event: ['x'], events: undefined })).toContain(
      'event is nothing a projection has; did you mean events?; events is required',
    )
    expect(refusalOf({ ...good, events: ['power'] })).toContain('two labels at least')
    expect(refusalOf({ ...good, commutative: true })).toContain('commutative is nothing a projection has')
    expect(refusalOf(good)).toBe('')
  })

  test('reads by type where it names its types, and wants the gateways’ own events only by name', () => {
    expect(defineProjection(good).types).toEqual(['com.acme.power'])
    const all = defineProjection({ ...good, events: ['#'] })
    expect(all.types).toBeUndefined()
    expect([all.wants('com.acme.power'), all.wants('dev.tidegate.ledger')]).toEqual([true, false])
  })
})

const coded = (code: string, more: object = {}) => Object.assign(new Error('x'), { code, ...more })
const outage = (retryable: boolean) =>
  new TidegateError('DATABASE_DENIED', { message: 'x', retryable, hint: 'y' })

test('what may succeed later is told from what never will', () => {
  const temporary = [
    coded('40P01'),
    coded('40001'),
    coded('55P03'),
    coded('X', { retryable: true }),
    outage(false),
  ]
  expect(temporary.map(isTemporary)).toEqual(temporary.map(() => true))
  const lasting = [
    coded('23505'),
    new Error('x'),
    coded('TRANSACTION_SPOILT', { retryable: true }),
    'text',
    undefined,
  ]
  expect(lasting.map(isTemporary)).toEqual(lasting.map(() => false))
})

test('what is kept of a failure PostgreSQL can keep', () => {
  const event = { ...new Ledger().next('a').event, cursor: '1.2.3', storedtime: '2026-01-01T00:00:00.000Z' }
  const poison = poisonOf(new Error(`a\0\ud800${'b'.repeat(5000)}`), event)
  expect(poison).toMatchObject({ cursor: '1.2.3', id: 'id-1', source: '/devices/a', code: 'UNEXPECTED' })
  expect([poison.message.length, poison.message.isWellFormed(), poison.message.includes('\0')]).toEqual([
    1000,
    true,
    false,
  ])
})

test('a rate is that of the last ten seconds', async () => {
  const clock = new FakeClock()
  const rate = createRate(clock)
  expect(rate.add(500)).toBe(0)
  for (let second = 1; second <= 5; second++) {
    await clock.advance(1000)
    expect(rate.add(100)).toBe(100)
  }
  await clock.advance(9_000)
  expect(Math.round(rate.add(1000))).toBe(Math.round(1100 / 10))
})
