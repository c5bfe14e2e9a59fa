import { createHash } from 'node:crypto'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { claimedChain, decodeEvent, encodeEvent, genesis, verifyChain } from '../../../src/contract/codec.ts'
import type { Event } from '../../../src/contract/event.ts'

function event(sequence: number, data: unknown): Omit<Event, 'chain'> {
  return {
    specversion: '1.0',
    id: `id-${sequence}`,
    source: '/devices/d1',
    type: 'com.acme.climate',
    time: '2026-01-01T00:00:00Z',
    recordedtime: '2026-01-01T00:00:01.000Z',
    datacontenttype: 'application/json',
    partitionkey: 'd1',
    gateway: 'gw-1',
    epoch: '01JGJ7Q0000000000000000000',
    sequence,
    data,
  }
}

describe('the codec', () => {
  test('reads back any event that it wrote', () => {
    fc.assert(
      fc.property(fc.jsonValue(), (data) => {
        const { text } = encodeEvent(event(1, data), genesis('gw-1', 'e'))
        const decoded = decodeEvent(text)
        expect(decoded.data).toEqual(JSON.parse(JSON.stringify(data)))
        expect(decoded.chain).toBe(claimedChain(text))
      }),
    )
  })

  test('can be verified with nothing but a SHA-256 tool (G8)', () => {
    const first = genesis('gw-1', 'e')
    const { text, chain } = encodeEvent(event(1, { t: 1 }), first)
    const body = text.slice(0, text.lastIndexOf(',"chain":'))
    expect(
      createHash('sha256')
        .update(first + body)
        .digest('base64url'),
    ).toBe(chain)
  })

  test('finds any single altered character, and any event that is missing or moved (G8)', () => {
    const start = genesis('gw-1', 'e')
    const one = encodeEvent(event(1, { t: 1 }), start)
    const two = encodeEvent(event(2, { t: 2 }), one.chain)
    const three = encodeEvent(event(3, { t: 3 }), two.chain)
    expect(verifyChain(two.text, one.chain)).toBe(true)
    expect(verifyChain(three.text, one.chain)).toBe(false)
    expect(verifyChain(two.text, start)).toBe(false)
    fc.assert(
      fc.property(fc.nat(two.text.length - 1), (at) => {
        const other = two.text[at] === 'x' ? 'y' : 'x'
        const altered = two.text.slice(0, at) + other + two.text.slice(at + 1)
        expect(verifyChain(altered, one.chain)).toBe(false)
      }),
    )
  })

  test('reads what a gateway of before has let a device say of its payload: it is no fault of the event', () => {
    const said = { payloadformat: 'x', payloadsha256: 5, payloadskipped: 'some' }
    const { text } = encodeEvent({ ...event(1, {}), ...said } as unknown as Event, genesis('gw-1', 'e'))
    expect(decodeEvent(text)).toMatchObject(said)
  })

  test('refuses what is not an event, naming every fault by path', () => {
    expect(() => decodeEvent('{')).toThrow(
      expect.objectContaining({ code: 'EVENT_UNREADABLE', retryable: false }),
    )
    const { text } = encodeEvent(event(1, 1), genesis('g', 'e'))
    const broken = text
      .replace('"sequence":1', '"sequence":0')
      .replace('"type":"com.acme.climate"', '"type":"x"')
    expect(() => decodeEvent(broken)).toThrow(/type: .*sequence: /s)
  })
})
