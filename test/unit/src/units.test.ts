import { expect, test } from 'vitest'
import { z } from 'zod'
import { byteSize, duration, parseBytes, parseDuration } from '../../../src/units.ts'

test('durations are read with their unit, plain numbers as ms', () => {
  expect(['500ms', '30s', '10m', '24h', '7d', '1.5h', 250].map(parseDuration)).toEqual([
    500, 30_000, 600_000, 86_400_000, 604_800_000, 5_400_000, 250,
  ])
  expect(['1h30m', '1d12h', '2m500ms', '1m30s'].map(parseDuration)).toEqual([
    5_400_000, 129_600_000, 120_500, 90_000,
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
    '30m1h',
    '1h1h',
    '1.5h30m',
    '1h 30m',
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
    'age: must be a duration such as 500ms, 30s, 10m, 1h30m or 7d',
    'wait: must be a duration such as 500ms, 30s, 10m, 1h30m or 7d',
  ])
})

test('a quantity beyond its limits is refused, and the limit named as it is written', () => {
  const schema = z.strictObject({
    wait: duration('5s', { min: '1s', max: '24h' }),
    age: duration(),
    size: byteSize({ min: '1KiB', max: '1GiB' }),
  })
  const faults = (config: object): string[] | undefined =>
    schema.safeParse(config).error?.issues.map((issue) => `${issue.path.join('.')}: ${issue.message}`)
  expect(faults({ wait: '999ms', age: 0, size: 1023 })).toEqual([
    'wait: must be at least 1s',
    'size: must be at least 1KiB',
  ])
  expect(faults({ wait: '25h', age: '100000d', size: '2GiB' })).toEqual([
    'wait: must be at most 24h',
    'age: must be at most 36500d',
    'size: must be at most 1GiB',
  ])
  expect(faults({ wait: '1s', age: 0, size: 1024 })).toBeUndefined()
  expect(faults({ wait: '24h', age: '36500d', size: '1GiB' })).toBeUndefined()
})
