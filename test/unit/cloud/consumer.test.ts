import { describe, expect, test } from 'vitest'
import { defineConsumer } from '../../../cloud/pipeline/consumer.ts'

const wanting = (...types: string[]) => defineConsumer({ group: 'g', types, handle() {} })

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
