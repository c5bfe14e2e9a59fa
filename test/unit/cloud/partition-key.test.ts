import fc from 'fast-check'
import { expect, test } from 'vitest'
import { partitionKeyOf } from '../../../cloud/parking/partition-key.ts'

const read = (text: string): string | undefined => partitionKeyOf(Buffer.from(text))

const key = fc.string({ unit: 'binary' })
const scalar = fc.oneof(
  fc.string({ unit: 'binary' }),
  fc.integer(),
  fc.double(),
  fc.boolean(),
  fc.constant(null),
)
const value = fc.oneof(
  scalar,
  fc.jsonValue(),
  fc.dictionary(fc.oneof(key, fc.constant('partitionkey')), scalar),
)

test('the device of an event is read without decoding it, wherever it stands and whatever stands beside it (G6)', () => {
  fc.assert(
    fc.property(
      fc.array(fc.tuple(key, value)),
      fc.stringMatching(/^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/),
      fc.array(fc.tuple(key, value)),
      fc.constantFrom(undefined, 1, '\t'),
      (before, device, after, space) => {
        // oxlint-disable-next-line no-prototype-builtins -- such a key is set like the others
        const members = [...before, ['partitionkey', device] as const, ...after].filter(
          ([name]) => name !== '__proto__',
        )
        const text = JSON.stringify(Object.fromEntries(members), null, space)
        expect(read(text)).toBe(device)
      },
    ),
  )
})

test('of what is cut off or is no object nothing is read that is not there', () => {
  const whole = '{"a":{"partitionkey":"x"},"b":["}",{"c":"\\""}],"partitionkey":"device-1"}'
  expect(read(whole)).toBe('device-1')
  for (let length = 0; length < whole.indexOf('"device-1"'); length++)
    expect(read(whole.slice(0, length))).toBeUndefined()
  for (const text of [
    '',
    '[]',
    'null',
    '{}',
    '{"a":1}',
    '{a}',
    '{"partitionkey":7}',
    '{"a" 1}',
    '{"data":{"partitionkey":"x"}}',
  ])
    expect(read(text)).toBeUndefined()
})

test('never throws, whatever the bytes', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
      const text = Buffer.concat([Buffer.from('{"a":'), bytes])
      expect(() => partitionKeyOf(text)).not.toThrow()
    }),
  )
})
