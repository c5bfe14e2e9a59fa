import { expect, test } from 'vitest'
import { z } from 'zod'
import { byteSize, duration, parseBytes, parseDuration } from '../../src/units.ts'

test('durations are read with their unit, plain numbers as ms', () => {
  expect(['500ms', '30s', '10m', '24h', '7d', '1.5h', 250].map(parseDuration)).toEqual([
    500, 30_000, 600_000, 86_400_000, 604_800_000, 5_400_000, 250,
  ])
})

test('sizes are read with their unit, plain numbers as bytes', () => {
  expect(['64B', '1kB', '256KiB', '4GiB', '2 MB', 77].map(parseBytes)).toEqual([
    64,
    1000,
    262_144,
    4 * 1024 ** 3,
    2e6,
    77,
  ])
})

test('what is not a quantity is refused', () => {
  for (const value of [
    '',
    'soon',
    '10',
    '10 parsecs',
    '-1s',
    -1,
    1.5,
    Number.NaN,
    null,
    undefined,
    '1constructor',
  ]) {
    expect(parseDuration(value)).toBeUndefined()
    expect(parseBytes(value)).toBeUndefined()
  }
})

test('a config schema outputs ms and bytes, fills defaults and says what it expects', () => {
  const schema = z.strictObject({
    age: duration('24h'),
    bytes: byteSize('4GiB'),
    wait: duration(),
    pause: duration().optional(),
  })
  expect(schema.parse({ wait: '5s' })).toEqual({ age: 86_400_000, bytes: 4 * 1024 ** 3, wait: 5000 })
  const faults = schema
    .safeParse({ age: 'long' })
    .error?.issues.map((issue) => `${issue.path.join('.')}: ${issue.message}`)
  expect(faults).toEqual([
    'age: must be a duration such as 500ms, 30s, 10m, 24h or 7d',
    'wait: must be a duration such as 500ms, 30s, 10m, 24h or 7d',
  ])
})
