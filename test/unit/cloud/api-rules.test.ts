import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { z } from 'zod'
import { createRates } from '../../../cloud/api/rates.ts'
import { cursorOf, pageOf, placeOf } from '../../../cloud/api/rules/cursor.ts'
import { payload, shownBy } from '../../../cloud/api/rules/payload.ts'
import { isFor } from '../../../cloud/api/rules/roles.ts'
import { apiConfigSchema } from '../../../cloud/api/rules/settings.ts'
import { FakeClock } from '../../support/fakes/clock.ts'

describe('a cursor', () => {
  test('comes back as the place it was made of, and means nothing to another list', () => {
    fc.assert(
      fc.property(
        fc.array(
          fc.oneof(
            fc.maxSafeNat(),
            fc.string({ maxLength: 20 }).filter((text) => !text.includes('\u0000')),
          ),
        ),
        (place) => {
          expect(placeOf('things', cursorOf('things', place), place)).toEqual(place)
          expect(() => placeOf('others', cursorOf('things', place), place)).toThrow(
            expect.objectContaining({ code: 'CURSOR_INVALID' }),
          )
        },
      ),
    )
  })

  test('that somebody made up is refused, and leads nowhere', () => {
    const made = [
      '',
      'x',
      '!!',
      Buffer.from('{"a":1}').toString('base64url'),
      cursorOf('things', ['a\u0000']),
      cursorOf('things', [1.5]),
      cursorOf('things', []),
      'A'.repeat(1000),
    ]
    for (const cursor of made)
      for (const like of [[0], ['']])
        expect(() => placeOf('things', cursor, like), cursor).toThrow(
          expect.objectContaining({ code: 'CURSOR_INVALID', status: 400 }),
        )
  })

  test('is there while there is more', () => {
    // oxlint-disable-next-line unicorn/consistent-function-scoping -- read where it is used
    const place = (last: number): [number] => [last]
    expect(pageOf('n', [1, 2, 3], { limit: 2, place })).toEqual({ items: [1, 2], next: cursorOf('n', [2]) })
    expect(pageOf('n', [1, 2], { limit: 2, place })).toEqual({ items: [1, 2], next: null })
    expect(pageOf('n', [], { limit: 2, place })).toEqual({ items: [], next: null })
  })
})

describe('an answer', () => {
  const shape = z.object({
    code: z.string(),
    said: payload(z.string().nullable(), 'said of it'),
    steps: z.array(z.object({ at: z.string(), said: payload(z.string()) })),
    inner: z.object({ body: payload(z.unknown()) }).nullable(),
  })
  const value = {
    code: 'X',
    said: 'canary',
    steps: [{ at: 't', said: 'canary' }],
    inner: { body: ['canary'] },
    row_version: 1,
  }

  test('has its payload fields for those with the right to them, at whatever depth, and never what is not in its schema', () => {
    expect(shownBy(shape, value, false)).toEqual({ code: 'X', steps: [{ at: 't' }], inner: {} })
    const { row_version: _, ...all } = value
    expect(shownBy(shape, value, true)).toEqual(all)
    expect(shownBy(shape, { ...value, inner: null, said: null }, true)).toMatchObject({
      inner: null,
      said: null,
    })
  })
})

test('what has no type is not for those who are for some types', () => {
  const caller = { actor: '', roles: [], local: false }
  expect(isFor(caller, 'a', null)).toBe(true)
  expect(isFor({ ...caller, types: ['t'] }, 'a', null)).toBe(false)
  expect(isFor({ ...caller, types: ['t'] }, 'a', 't')).toBe(true)
  expect(isFor({ ...caller, groups: ['b'] }, 'a', 't')).toBe(false)
})

test('names that are made up by the million take no memory that grows (G7)', () => {
  const rates = createRates(1, new FakeClock())
  for (let count = 0; count < 5; count++) rates.take('first')
  expect(rates.take('first')).toBeGreaterThan(0)
  for (let count = 0; count < 10_000; count++) rates.take(`other-${count}`)
  expect(rates.look('first')).toBe(0)
})

describe('settings of the API', () => {
  // oxlint-disable-next-line unicorn/consistent-function-scoping -- read where it is used
  const faults = (value: object): string[] =>
    apiConfigSchema.safeParse(value).error?.issues.map(({ path }) => path.join('.')) ?? []
  test('are off by default, and a port without anybody who could sign in is a fault', () => {
    expect(apiConfigSchema.parse({})).toMatchObject({ host: '127.0.0.1', connectionsMax: 100 })
    expect(apiConfigSchema.parse({}).port).toBeUndefined()
    expect(faults({ port: 9104 })).toEqual(['port'])
    expect(faults({ port: 9104, tokens: { key: 'a.key' } })).toEqual([])
    expect(faults({ socket: '/run/tidegate/api.sock' })).toEqual([])
  })

  test('take keys of a provider over https or from this machine, and no algorithm with a shared secret', () => {
    const provider = { issuer: 'https://id.example', audience: 'tidegate', jwks: 'https://id.example/jwks' }
    expect(faults({ provider })).toEqual([])
    expect(faults({ provider: { ...provider, jwks: 'http://127.0.0.1:8080/jwks' } })).toEqual([])
    expect(faults({ provider: { ...provider, jwks: 'http://id.example/jwks' } })).toEqual(['provider.jwks'])
    for (const algorithm of ['HS256', 'none'])
      expect(faults({ provider: { ...provider, algorithms: [algorithm] } })).toEqual([
        'provider.algorithms.0',
      ])
    expect(faults({ tokens: { key: 'a' }, provider: { ...provider, issuer: 'tidegate' } })).toEqual([
      'provider.issuer',
    ])
  })
})
