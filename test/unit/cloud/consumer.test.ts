import { describe, expect, test } from 'vitest'
import type { Transaction } from '../../../cloud/database/storage.ts'
import {
  type BatchConsumerOptions,
  defineConsumer,
  type SingleConsumerOptions,
} from '../../../cloud/pipeline/consumer.ts'
import type { HandlerContextOf } from '../../../cloud/pipeline/definition.ts'
import type { Event } from '../../../src/contract/event.ts'

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

  test('whose other handler is undefined handles with the one that is there', async () => {
    const both = { group: 'g', types: ['#'], handle() {}, handleBatch: undefined }
    expect(defineConsumer(both as unknown as SingleConsumerOptions).handler.kind).toBe('single')
    const batch = { group: 'g', types: ['#'], handle: undefined, handleBatch() {} }
    expect(defineConsumer(batch as unknown as BatchConsumerOptions).handler.kind).toBe('batch')
  })

  test('may be an instance of a class, which stays what its handler is called on', async () => {
    class Counting {
      readonly group = 'counting'
      #count = 0
      get types(): string[] {
        return ['com.acme.#']
      }
      handle(): void {
        this.#count += 1
      }
      /** Nothing that a consumer has, and nobody's typo. */
      count(): number {
        return this.#count
      }
    }
    const counting = new Counting()
    const made = defineConsumer(counting)
    const { handler } = made
    const context = { tx: {} } as HandlerContextOf<Transaction>
    if (handler.kind === 'single') await handler.handle({} as Event, context)
    expect([counting.count(), made.wants('com.acme.a'), made.wants('b.c')]).toEqual([1, true, false])
    class Faulty extends Counting {
      readonly timout = 3
      override get types(): string[] {
        return []
      }
    }
    expect(() => defineConsumer(new Faulty())).toThrow(
      /consumer counting: timout is nothing a consumer has; did you mean timeout\?; types must name/,
    )
  })

  test.each<[string, object, RegExp]>([
    ['a key that is misspelt', { timout: 3 }, /timout is nothing a consumer has; did you mean timeout\?/],
    [
      'a handler that is misspelt',
      { handle: undefined, handel() {} },
      /did you mean handle\?.*handle is required/,
    ],
    [
      'a text where a list belongs',
      { types: 'com.acme.climate' },
      /types must be a list.*"com\.acme\.climate"/,
    ],
    ['a type that has one label', { types: ['climate'] }, /types holds "climate".*com\.acme\.climate/],
    ['a number among the types', { types: [3] }, /types must hold texts, and holds 3/],
    ['a retry that is no list', { retry: '5s' }, /retry must be a list/],
    ['an order that is a text', { ordered: 'no' }, /ordered must be true or false/],
    [
      'a beginning that there is not',
      { from: 'earliest' },
      /from must be beginning or now, and is the text "earliest"/,
    ],
    ['a handler that is none', { handle: 'later' }, /handle must be a function/],
    ['two handlers', { handleBatch() {} }, /one of the two/],
    ['what is for batches alone', { dedup: 'own' }, /dedup is for consumers with handleBatch/],
    ['no group', { group: undefined }, /group is required/],
    [
      'types and events',
      { events: { 'com.acme.climate': 2 } },
      /types and events: a consumer has one of the two/,
    ],
    ['neither types nor events', { types: undefined }, /types is required, or events/],
    ['events that are misspelt', { types: undefined, event: { 'a.b': 1 } }, /did you mean events\?/],
    ['events as a list', { types: undefined, events: ['a.b'] }, /events must be an object.*is a list/],
    ['no event among the events', { types: undefined, events: {} }, /events must name at least one/],
    [
      'a pattern among the events',
      { types: undefined, events: { 'com.acme.#': 1 } },
      /"com\.acme\.#": patterns have no version, and need types/,
    ],
    [
      'an event of one label',
      { types: undefined, events: { climate: 1 } },
      /"climate", which is not an event/,
    ],
    [
      'an event of the gateways',
      { types: undefined, events: { 'dev.tidegate.ledger': 1 } },
      /"dev\.tidegate\.ledger", which has no versions: name it with types/,
    ],
    ['a version that is a text', { types: undefined, events: { 'a.b': '2' } }, /"a\.b" with the text "2"/],
    ['version 0', { types: undefined, events: { 'a.b': 0 } }, /"a\.b" with 0, and a version is/],
    ['no consumer at all', [], /types is required/],
  ])('with %s is refused, and it is said how', (_, more, says) => {
    const given: object = Array.isArray(more) ? more : { group: 'g', types: ['#'], handle() {}, ...more }
    expect(() => defineConsumer(given as SingleConsumerOptions)).toThrow(
      expect.objectContaining({ code: 'CONSUMER_INVALID', message: expect.stringMatching(says) as string }),
    )
  })
})
