import { expect, test } from 'vitest'
import { readTime } from '../../../edge/admission/event-time.ts'
import { timeZoneOf } from '../../../edge/admission/routes/time-zone.ts'
import { eventSchema } from '../../../src/contract/event.ts'

const berlin = timeZoneOf('Europe/Berlin')
const read = (value: unknown, zone = timeZoneOf('none')): string => {
  const result = readTime(value, zone)
  return result.ok ? result.time : `no: ${result.fault}`
}

test.for<[string, unknown, string]>([
  ['seconds', 1780315200, '2026-06-01T12:00:00.000Z'],
  ['seconds with a fraction', 1780315200.25, '2026-06-01T12:00:00.250Z'],
  ['milliseconds', 1780315200125, '2026-06-01T12:00:00.125Z'],
  ['microseconds', 1780315200125001, '2026-06-01T12:00:00.125001Z'],
  ['nanoseconds', 1780315200125000000, '2026-06-01T12:00:00.125000000Z'],
  ['seconds as a text', '1780315200', '2026-06-01T12:00:00.000Z'],
  ['seconds and a fraction as a text', '1780315200.5', '2026-06-01T12:00:00.500Z'],
  ['milliseconds as a text', '1780315200125', '2026-06-01T12:00:00.125Z'],
  ['nanoseconds as a text, to the last digit', '1780315200125000001', '2026-06-01T12:00:00.125000001Z'],
  ['the last second that is no millisecond', 99_999_999_999, '5138-11-16T09:46:39.000Z'],
  ['the first millisecond that is no second', 100_000_000_000, '1973-03-03T09:46:40.000Z'],
  ['no more than nine digits below the second', '1780315200.12345678912', '2026-06-01T12:00:00.123456789Z'],
  ['a clock that was never set', 12, '1970-01-01T00:00:12.000Z'],
])('a number is read by its size: %s', ([, value, time]) => {
  expect(read(value)).toBe(time)
})

test.for<[string, string, string]>([
  ['as it is', '2026-06-01T11:59:59.123456+02:00', '2026-06-01T11:59:59.123456+02:00'],
  ['with an unknown offset', '2026-06-01T11:59:59-00:00', '2026-06-01T11:59:59-00:00'],
  ['in small letters', '2026-06-01t11:59:59z', '2026-06-01T11:59:59Z'],
  ['with a space', '2026-06-01 11:59:59+02:00', '2026-06-01T11:59:59+02:00'],
  ['with a leap second', '2016-12-31T23:59:60Z', '2017-01-01T00:00:00Z'],
  ['with a leap second elsewhere', '2016-12-31T15:59:60.5-08:00', '2017-01-01T00:00:00.5Z'],
  ['with an offset that databases do not know', '2026-06-01T12:00:00+23:59', '2026-05-31T12:01:00Z'],
  [
    'with more digits than anybody keeps',
    `2026-06-01T12:00:00.${'1'.repeat(30)}Z`,
    '2026-06-01T12:00:00.111111111Z',
  ],
])('a time of RFC 3339 is read %s', ([, text, time]) => {
  expect(read(text)).toBe(time)
  expect(eventSchema.shape.time.safeParse(time).success).toBe(true)
})

test.for<[string, unknown]>([
  ['it is no time of RFC 3339', 'yesterday'],
  ['it is no time of RFC 3339', '2026-06-01'],
  ['it is no time of RFC 3339', '2026-06-01T12:00Z'],
  ['it is no time of RFC 3339', '20260601T120000Z'],
  ['it is no time of RFC 3339', '20260601120000'],
  ['it is no time of RFC 3339', '2026-06-01T12:00:00+0100'],
  ['it is no time of RFC 3339', `2026-06-01T12:00:00.${'1'.repeat(300)}Z`],
  ['there is no such day or time', '2026-02-30T12:00:00Z'],
  ['there is no such day or time', '2026-06-01T24:00:00Z'],
  ['there is no such day or time', '0000-06-01T12:00:00Z'],
  ['there is no such day or time', '0001-01-01T00:00:00+23:00'],
  ['there is no such day or time', '9999-12-31T23:00:00-23:00'],
  ['there was no leap second', '2026-06-01T12:00:60Z'],
  ['there is no such offset', '2026-06-01T12:00:00+24:00'],
  ['it has no offset, and its route has no timeOffset', '2026-06-01T12:00:00'],
  ['neither a text nor a number', { seconds: 1 }],
  ['neither a text nor a number', false],
  ['no number of seconds', -1],
  ['no number of seconds', 1e300],
  ['no number of seconds', 1e20],
])('what cannot be read is not guessed: %s', ([fault, value]) => {
  const text = read(value)
  expect(text).toMatch(/^no: /)
  expect(text).toContain(fault)
  expect(text).not.toContain(JSON.stringify(value).replaceAll('"', ''))
})

test.for<[string, string, string]>([
  ['in winter', '2026-01-15T12:00:00', '2026-01-15T12:00:00+01:00'],
  ['in summer', '2026-07-15 12:00:00.5', '2026-07-15T12:00:00.5+02:00'],
  ['in the last hour of winter', '2026-03-29T01:59:59', '2026-03-29T01:59:59+01:00'],
  ['in the first hour of summer', '2026-03-29T03:00:00', '2026-03-29T03:00:00+02:00'],
  ['in an hour that does not happen', '2026-03-29T02:30:00', '2026-03-29T02:30:00+01:00'],
  ['in an hour that happens twice', '2026-10-25T02:30:00', '2026-10-25T02:30:00+02:00'],
  ['in the first hour that happens once again', '2026-10-25T03:00:00', '2026-10-25T03:00:00+01:00'],
  ['with an offset of its own', '2026-07-15T12:00:00Z', '2026-07-15T12:00:00Z'],
])('a local time takes the offset that its zone had then: %s', ([, local, time]) => {
  expect(read(local, berlin)).toBe(time)
})

test('a zone is Z, an offset or a name of the IANA database', () => {
  expect(read('2026-07-15T12:00:00', timeZoneOf('+05:30'))).toBe('2026-07-15T12:00:00+05:30')
  expect(read('2026-07-15T12:00:00', timeZoneOf('America/St_Johns'))).toBe('2026-07-15T12:00:00-02:30')
  expect(read('2026-07-15T12:00:00', timeZoneOf('Z'))).toBe('2026-07-15T12:00:00+00:00')
  for (const name of ['Middle/Earth', '', '+1', '+15:00', '+01:60', 'GMT+25'])
    expect(timeZoneOf(name)).toBeUndefined()
})
