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

  test('refuses what names no schema when told to', () => {
    expect(code({}, 'reject')).toBe('SCHEMA_MISSING')
  })
})
