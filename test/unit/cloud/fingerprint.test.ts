import { describe, expect, test } from 'vitest'
import { causesOf, type Failed, generalized } from '../../../cloud/letters/fingerprint.ts'

const failed = (more: Partial<Failed> = {}): Failed => ({
  group: 'alerts',
  code: 'SITE_UNKNOWN',
  type: 'com.acme.climate',
  message: 'no site',
  stack: undefined,
  own: [],
  ...more,
})
const printOf = (more: Partial<Failed>): string => causesOf(failed(more))[0].fingerprint

const stack = (folder: string, line: number): string =>
  [
    `at find (file://${folder}/consumers/sites.js:${line}:7)`,
    `at node:internal/process/task_queues:${line}:5`,
    `at query (${folder}/node_modules/pg/lib/client.js:${line}:1)`,
    `at async Object.handle (file://${folder}/consumers/alerts.js?v=${line}:${line}:3)`,
  ].join('\n')

describe('what failures have in common', () => {
  test.each([
    ['sensor-004 has no site, request 8f3a-2120', '<it> has no site, request #'],
    ['request beef-2120', 'request #'],
    ['b9174e01-5a3c-4d55-9c3e-0a2b1c3d4e5f was not found', '# was not found'],
    ['batch 01ARZ3NDEKTSV4RRFFQ69G5FAV', 'batch #'],
    ['digest deadbeefcafe', 'digest #'],
    ['at 2026-11-27T10:09:45.123Z it was late', 'at # it was late'],
    ['connect ECONNREFUSED 10.0.0.7:5432', 'connect ECONNREFUSED #'],
    ['connect to fe80::ab and to ::1', 'connect to # and to #'],
    ['temperature -12.5 is below -40', 'temperature # is below #'],
    ['Cannot read properties of undefined', 'Cannot read properties of undefined'],
    ['duplicate key (id)=(4711)', 'duplicate key (id)=(#)'],
    ['  two\n lines ', 'two lines'],
    ['the answer of sensor-0041 is none of its', 'the answer of sensor-# is none of its'],
  ])('%s', (message, general) => {
    expect(generalized(message, ['sensor-004', undefined, ''])).toBe(general)
  })

  test('an event’s own names are none of it where they are words, and stay where they are part of one', () => {
    expect(generalized('in inside (in) in_', ['in'])).toBe('<it> inside (<it>) in_')
  })

  test('are group, code, type, message and the consumer’s own places, without lines and folders that differ', () => {
    const print = printOf({ stack: stack('/srv/a', 12) })
    expect(printOf({ stack: stack('/home/b', 99) })).toBe(print)
    expect(causesOf(failed({ stack: stack('/srv/a', 12) }))[0].frame).toBe('at find consumers/sites.js')
    const others = [
      { stack: stack('/srv/a', 12).replace('find', 'search') },
      { stack: undefined },
      { group: 'other', stack: stack('/srv/a', 12) },
      { code: 'OTHER', stack: stack('/srv/a', 12) },
      { type: undefined, stack: stack('/srv/a', 12) },
      { message: 'another', stack: stack('/srv/a', 12) },
    ].map(printOf)
    expect(new Set([print, ...others]).size).toBe(others.length + 1)
  })

  test('of further codes is one for all, whatever the code and the type are (G7)', () => {
    const [own, ofCode, ofGroup] = causesOf(failed())
    const [, ofOther, ofAll] = causesOf(failed({ code: 'X', type: 'a.b', message: 'other' }))
    expect(ofAll).toEqual(ofGroup)
    expect(ofOther.fingerprint).not.toBe(ofCode.fingerprint)
    expect(causesOf(failed({ message: 'other', type: 'a.b' }))[1]).toEqual(ofCode)
    for (const { fingerprint } of [own, ofCode, ofGroup]) expect(fingerprint).toMatch(/^[0-9a-f]{16}$/)
  })

  test.each(['a', '-', 'a-', 'f:', '#', '# ', '1.', '1-', '::', 'at (', '\n', '\ud800', '1:1:'])(
    'of a million times %j is bounded, in length and in work (G7)',
    (piece) => {
      const long = piece.repeat(1_000_000)
      expect(generalized(long, [long.slice(0, 256), piece]).length).toBeLessThanOrEqual(4_000)
      expect(causesOf(failed({ message: long, stack: long.slice(0, 8_192) }))[0].fingerprint).toHaveLength(16)
    },
  )
})
