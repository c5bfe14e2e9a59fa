import { describe, expect, test } from 'vitest'
import { schemaCheck } from '../../../cloud/reading/schema-check.ts'
import { registryOf } from '../../support/fakes/schemas.ts'
import { Ledger } from '../../support/cloud/cloud-events.ts'

describe('the cloud’s schema check', () => {
  const registry = registryOf({
    'com.acme.climate': { 1: (data) => (data === 'good' ? [] : ['data: is not good']) },
    'com.acme.other': { 1: () => [] },
  })
  const code = (more: object, unchecked: 'accept' | 'reject' = 'accept') =>
    schemaCheck(registry, unchecked)(new Ledger().next('d', { data: 'good', ...more }).event)?.code

  test.each([
    [{ dataschema: 'com.acme.climate/1' }, undefined],
    [{ dataschema: 'com.acme.climate/1', data: 'bad' }, 'SCHEMA_VIOLATION'],
    [{ dataschema: 'com.acme.other/1' }, 'SCHEMA_VIOLATION'],
    [{ dataschema: 'com.acme.climate/2' }, 'SCHEMA_UNKNOWN'],
    [{ dataschema: 'nonsense' }, 'SCHEMA_UNKNOWN'],
    [{}, undefined],
    [{ type: 'dev.tidegate.ledger', dataschema: 'nonsense' }, undefined],
  ])('%o: %s', (more, expected) => {
    expect(code(more)).toBe(expected)
  })

  test.each([
    ['com.acme.climate/9', undefined, undefined],
    ['other/1', 'SCHEMA_UNKNOWN', 'SCHEMA_VIOLATION'],
    ['zzz', 'SCHEMA_UNKNOWN', 'SCHEMA_VIOLATION'],
    ['https://acme.example/climate.json', 'SCHEMA_UNKNOWN', 'SCHEMA_VIOLATION'],
    ['com.acme.other/1', 'SCHEMA_VIOLATION', 'SCHEMA_VIOLATION'],
  ])(
    'takes as it was recorded a version of its own type that is not known, and nothing else: %s',
    (dataschema, ...codes) => {
      const { event } = new Ledger().next('d', { data: 'good', dataschema })
      const noted: string[] = []
      const found = (['accept', 'reject'] as const).map(
        (unchecked) => schemaCheck(registry, unchecked, (name) => noted.push(name))(event)?.code,
      )
      expect(found).toEqual(codes)
      expect(noted).toHaveLength(codes[1] === undefined ? 2 : 0)
    },
  )

  test('refuses what names no schema when told to', () => {
    expect(code({}, 'reject')).toBe('SCHEMA_MISSING')
  })
})
