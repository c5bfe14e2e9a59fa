import fc from 'fast-check'
import { EventEmitter } from 'node:events'
import type { Channel } from 'rabbitmq-client'
import { describe, expect, test } from 'vitest'
import { openConfirmChannel } from '../../../src/amqp/confirm-channel-rabbit.ts'
import { Confirms, type Fate } from '../../../src/amqp/confirms.ts'

function handedOver(count: number): Confirms<string> {
  const confirms = new Confirms<string>()
  for (let number = 1; number <= count; number++) expect(confirms.number(`m${number}`)).toBe(number)
  return confirms
}

const routed = (...items: string[]): Fate<string>[] => items.map((item) => ({ item, kind: 'routed' }))
const mismatch = expect.objectContaining({ code: 'CONFIRM_MISMATCH', retryable: true }) as Error

describe('a confirm is counted for the message it is about (G3, G5)', () => {
  test('one answer is about one publish, whatever the order of the answers', () => {
    const confirms = handedOver(4)
    expect(confirms.answered('ack', 3, false)).toEqual(routed('m3'))
    expect(confirms.answered('ack', 1, false)).toEqual(routed('m1'))
    expect(confirms.answered('nack', 4, false)).toEqual([{ item: 'm4', kind: 'nacked' }])
    expect(confirms.answered('ack', 2, true)).toEqual(routed('m2'))
  })

  test('an answer about several is about all up to it that have none yet, and about none behind', () => {
    const confirms = handedOver(5)
    confirms.answered('nack', 2, false)
    expect(confirms.answered('ack', 4, true)).toEqual(routed('m1', 'm3', 'm4'))
    expect(confirms.answered('ack', 5, true)).toEqual(routed('m5'))
  })

  test('what was returned is unroutable although one confirm speaks for all', () => {
    const confirms = handedOver(3)
    confirms.returned(2)
    expect(confirms.answered('ack', 3, true)).toEqual([
      { item: 'm1', kind: 'routed' },
      { item: 'm2', kind: 'unroutable' },
      { item: 'm3', kind: 'routed' },
    ])
  })

  test.each([
    ['that was never handed over', 4, false],
    ['beyond the last, about all up to it', 9, true],
    ['that has its answer', 2, false],
    ['that has its answer, about all up to it', 2, true],
    ['of no number, about all there are', 0, true],
  ])('an answer about a publish %s ends all trust', (_, tag, multiple) => {
    const confirms = handedOver(3)
    confirms.answered('ack', 2, false)
    expect(() => confirms.answered('ack', tag, multiple)).toThrow(mismatch)
    expect(() => confirms.answered('ack', 1, false)).toThrow(mismatch)
    expect(() => confirms.returned(1)).toThrow(mismatch)
  })

  test.each([NaN, 0, 4, 2])('a return of %s, which is not outstanding, ends all trust', (tag) => {
    const confirms = handedOver(3)
    confirms.answered('ack', 2, false)
    expect(() => confirms.returned(tag)).toThrow(mismatch)
  })

  test('every publish has exactly one fate, the one the broker gave it, however answers are ordered and put together', () => {
    const fates = fc.array(fc.constantFrom<Fate<number>['kind']>('routed', 'unroutable', 'nacked'), {
      minLength: 1,
      maxLength: 60,
    })
    fc.assert(
      fc.property(fates, fc.infiniteStream(fc.nat()), (kinds, chances) => {
        const chance = (below: number): number => (chances.next().value as number) % below
        const confirms = new Confirms<number>()
        const told = new Map<number, string>()
        const open = new Set<number>()
        let handed = 0
        while (handed < kinds.length || open.size > 0) {
          if (handed < kinds.length && (open.size === 0 || chance(2) === 0)) {
            const tag = confirms.number(handed++)
            open.add(tag)
            if (kinds[tag - 1] === 'unroutable') confirms.returned(tag)
            continue
          }
          const tag = [...open][chance(open.size)] as number
          const nacked = kinds[tag - 1] === 'nacked'
          const upTo = [...open].filter((other) => other <= tag)
          // One answer may speak for several only if it is the right one for each of them.
          const together =
            upTo.every((other) => (kinds[other - 1] === 'nacked') === nacked) && chance(2) === 0
          for (const { item, kind } of confirms.answered(nacked ? 'nack' : 'ack', tag, together)) {
            expect(told.has(item)).toBe(false)
            told.set(item, kind)
          }
          for (const other of together ? upTo : [tag]) open.delete(other)
        }
        expect([...told].toSorted(([a], [b]) => a - b).map(([, kind]) => kind)).toEqual(kinds)
      }),
    )
  })
})

test('a client that is built differently is refused before anything is published (G3)', async () => {
  const channel = new EventEmitter() as unknown as Channel
  await expect(
    openConfirmChannel(channel, { onFates() {}, onUnsendable() {}, onEnd() {} }),
  ).rejects.toMatchObject({
    code: 'AMQP_CLIENT_UNKNOWN',
    retryable: false,
  })
})
