import { describe, expect, test } from 'vitest'
import { seeded } from '../../../cloud/testing/laws/random.ts'
import { type Row, Shape } from '../../../cloud/testing/laws/rows.ts'
import { timesOf } from '../../../cloud/testing/laws/times.ts'

function rows(a: string, b: string): Map<string, Row[]> {
  return new Map([
    [
      'places',
      [
        { rest: '{"name": "a"}', keys: { id: a, within: null } },
        { rest: '{"name": "b"}', keys: { id: b, within: a } },
      ],
    ],
    ['visits', [{ rest: '{"device": "d"}', keys: { place: b } }]],
    ['notes', [{ rest: '{}', keys: { visit: b } }]],
  ])
}

describe('rows of tables whose numbers are other ones each time', () => {
  const shape = new Shape(
    [
      { name: 'places', computed: ['id'] },
      { name: 'visits', computed: ['n'] },
      { name: 'notes', computed: [] },
    ],
    [
      { table: 'visits', columns: ['place'], to: 'places', toColumns: ['id'] },
      { table: 'notes', columns: ['visit'], to: 'visits', toColumns: ['place'] },
      { table: 'places', columns: ['within'], to: 'places', toColumns: ['id'] },
      { table: 'visits', columns: ['x'], to: 'elsewhere', toColumns: ['id'] },
    ],
  )

  test('are told by the rows that they stand for, through every key that refers to them', () => {
    const visit = '{"device": "d", "place": {"name": "b", "within": {"name": "a", "within": null}}}'
    const contents = shape.contents(rows('1', '2'))
    expect(contents['visits']).toEqual([visit])
    expect(contents['notes']).toEqual([`{"visit": ${visit}}`])
    expect(shape.contents(rows('9', '4'))).toEqual(contents)
  })

  test('say which columns nothing is known of', () => {
    expect(shape.uncompared).toEqual(['places.id', 'visits.n'])
    expect(shape.varying('visits')).toEqual(['n', 'place'])
  })

  test('have an end where they refer to each other', () => {
    const circle: Row[] = [
      { rest: '{}', keys: { id: '1', within: '2' } },
      { rest: '{}', keys: { id: '2', within: '1' } },
    ]
    expect(shape.contents(new Map([['places', circle]]))['places']?.[0]).toContain('…')
  })
})

test('the events of a case have times: none of a device the same, some of two devices, and some late', () => {
  const devices = ['a', 'b', 'a', 'c', 'b', 'a', 'a', 'b']
  const cases = Array.from({ length: 50 }, (_, seed) => timesOf(devices, seeded(seed)))
  let equal = 0
  let late = 0
  for (const times of cases) {
    const own = devices.map((device, index) => `${device} ${times[index]}`)
    expect(new Set(own).size).toBe(devices.length)
    expect(Math.min(...times)).toBeGreaterThanOrEqual(0)
    expect(Math.max(...times)).toBeLessThan((devices.length + 1) * 86_400_000)
    if (new Set(times).size < devices.length) equal++
    const latest = new Map<string, number>()
    for (const [index, device] of devices.entries()) {
      if ((times[index] ?? 0) < (latest.get(device) ?? 0)) late++
      latest.set(device, Math.max(latest.get(device) ?? 0, times[index] ?? 0))
    }
  }
  expect(equal).toBeGreaterThan(10)
  expect(late).toBeGreaterThan(10)
})
