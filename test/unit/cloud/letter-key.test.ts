import { describe, expect, test } from 'vitest'
import { deadLetterOf } from '../../../cloud/letters/dead-letters.ts'
import { formerLetterOf } from '../../../cloud/letters/former-letters.ts'
import { letterKey } from '../../../cloud/letters/key.ts'
import type { Delivery } from '../../../cloud/amqp/delivery.ts'
import { headers as names } from '../../../src/contract/wire.ts'
import { TidegateError } from '../../../src/errors.ts'
import { Ledger } from '../../support/cloud/cloud-events.ts'
import { deliveryOf } from '../../support/fakes/delivery.ts'

/** A header with a text, as it stands in a table. */
const text = (name: string, value: string): Buffer => {
  const length = Buffer.alloc(4)
  length.writeUInt32BE(value.length)
  return Buffer.concat([Buffer.from([name.length]), Buffer.from(`${name}S`), length, Buffer.from(value)])
}
/** A property block of headers alone. */
const headersBlock = (...entries: Buffer[]): Buffer => {
  const start = Buffer.from([0x20, 0, 0, 0, 0, 0])
  start.writeUInt32BE(Buffer.concat(entries).length, 2)
  return Buffer.concat([start, ...entries])
}
const letterOf = (one: Delivery, error: unknown, event = new Ledger().next('device-1').event) =>
  deadLetterOf({ delivery: one, error, event, group: 'g', instance: 'i', version: undefined, nowMs: 0 })

describe('the key of a letter', () => {
  test('of a message that is no event is the same when the broker delivers it again, and when we have written into it (G5)', () => {
    const first = deliveryOf({ propertyBlock: headersBlock(text('mine', 'kept')) })
    const again = deliveryOf({
      propertyBlock: headersBlock(
        text('x-delivery-count', '3'),
        text('mine', 'kept'),
        text(names.attempt, '2'),
      ),
      redelivered: true,
    })
    expect(letterKey(again, undefined)).toEqual(letterKey(first, undefined))
    const others = [
      deliveryOf({ ...first, text: Buffer.from('other') }),
      deliveryOf({ propertyBlock: headersBlock(text('mine', 'other')) }),
    ]
    for (const other of others) expect(letterKey(other, undefined)).not.toEqual(letterKey(first, undefined))
  })

  test('of an event is that of its identity, and what is not believed has another: it takes no event’s place (G5, G9)', () => {
    const odd = letterOf(deliveryOf(), new Error('odd'))
    const forged = letterOf(
      deliveryOf({ text: Buffer.from('forged') }),
      new TidegateError('PROVENANCE', { message: 'no', retryable: false, hint: '' }),
    )
    expect(letterOf(deliveryOf({ text: Buffer.from('again') }), new Error('other')).key).toEqual(odd.key)
    expect(forged.key).not.toEqual(odd.key)
    expect(forged).toMatchObject({ device: 'device-1', code: 'PROVENANCE' })
  })

  test('of a letter of a former version is that of the letter that is written now, with the story that its headers tell (G5)', () => {
    const { event, text: body } = new Ledger().next('device-1')
    const failures = [{ attempt: 1, at: '2026-01-01T00:00:00.000Z', code: 'ODD', message: 'odd' }]
    const former = formerLetterOf(
      deliveryOf({
        text: Buffer.from(body),
        exchange: '',
        routingKey: 'g.dead',
        headers: {
          mine: 'kept',
          [names.errorCode]: 'ODD',
          [names.errorMessage]: 'odd',
          [names.attempt]: 3,
          [names.originalQueue]: 'g.07.v2',
          [names.originalRoutingKey]: '07.com.acme.climate',
          [names.originalUser]: 'gateway-1',
          [names.firstFailedAt]: '2026-01-01T00:00:00.000Z',
          [names.lastFailedAt]: '2026-01-01T00:00:35.000Z',
          [names.failures]: JSON.stringify(failures),
        },
      }),
      'g',
      0,
    )
    expect(former.key).toEqual(letterOf(deliveryOf(), new Error('x'), event).key)
    expect(former).toMatchObject({
      code: 'ODD',
      attempts: 3,
      queue: 'g.07.v2',
      routingKey: '07.com.acme.climate',
      publisher: 'gateway-1',
      headers: { mine: 'kept' },
      failures,
      device: 'device-1',
      sequence: 1,
      firstFailedAt: '2026-01-01T00:00:00.000Z',
      lastFailedAt: '2026-01-01T00:00:35.000Z',
    })
  })

  test('there is a letter of whatever lies in a former queue (G5)', () => {
    const anything = [
      deliveryOf({ headers: {} }),
      deliveryOf({ headers: { [names.errorCode]: { a: 1 }, [names.attempt]: -1, [names.failures]: '[' } }),
      deliveryOf({ propertyFault: 'unreadable', propertyBlock: Buffer.alloc(99, 255) }),
      deliveryOf({ text: Buffer.alloc(100, 255) }),
      deliveryOf({ headers: { [names.firstFailedAt]: '0000-01-01T00:00:00.000Z' } }),
      deliveryOf({ headers: { [names.firstFailedAt]: '2026-02-31T00:00:00.000Z' } }),
    ]
    for (const one of anything)
      expect(formerLetterOf(one, 'g', 0)).toMatchObject({
        code: 'UNKNOWN',
        attempts: 1,
        failures: [],
        firstFailedAt: '1970-01-01T00:00:00.000Z',
      })
  })
})
