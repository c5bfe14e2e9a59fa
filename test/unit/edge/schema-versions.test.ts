import { describe, expect, test } from 'vitest'
import {
  createSchemaCheck,
  refuseUnknownVersions,
  type SchemaUse,
} from '../../../edge/admission/schema-check.ts'
import type { SchemaRegistry } from '../../../src/schemas/registry.ts'
import { registryOf } from '../../support/fakes/schemas.ts'

const type = 'com.acme.climate'
const needs = (member: string) => (data: unknown) =>
  Object.hasOwn(data as object, member) ? [] : [`data.${member}: is required`]
/** Version 2 renamed what version 1 had: it takes nothing that a device of before sends. */
const versions = { 1: needs('temp'), 2: needs('temperature'), 3: needs('celsius') }

const checking = (schemas: SchemaRegistry, schemaUse: SchemaUse = new Map()) => {
  const check = createSchemaCheck({ schemas, unknownTypes: 'accept', schemaUse })
  return (data: object, dataschema?: string, routeVersion?: number) => {
    const verdict = check(type, { data, ...(dataschema !== undefined && { dataschema }) }, routeVersion)
    return verdict.ok ? verdict.dataschema : verdict.fault.reason
  }
}

describe('a reading', () => {
  const check = checking(registryOf({ [type]: versions }))

  test('of a version that a newer one refuses is accepted as what it is: no new version turns a working device away (G2)', () => {
    expect(check({ temp: 21 })).toBe(`${type}/1`)
    expect(check({ temperature: 21 })).toBe(`${type}/2`)
    expect(check({ celsius: 21 })).toBe(`${type}/3`)
  })

  test('that several versions take is of the newest of them, whatever was sent before', () => {
    for (const before of [{ temp: 1 }, { celsius: 1 }]) {
      check(before)
      expect(check({ temp: 21, temperature: 21 })).toBe(`${type}/2`)
    }
  })

  test('is held against the version that it names, or else its route, and no other', () => {
    expect(check({ temp: 21, celsius: 21 }, `${type}/1`)).toBe(`${type}/1`)
    expect(check({ temp: 21 }, `${type}/2`)).toBe('SCHEMA_VIOLATION')
    expect(check({ temp: 21, celsius: 21 }, undefined, 1)).toBe(`${type}/1`)
    expect(check({ celsius: 21 }, undefined, 1)).toBe('SCHEMA_VIOLATION')
    expect(check({ temp: 21, celsius: 21 }, `${type}/3`, 1)).toBe(`${type}/3`)
    expect(check({ temp: 21 }, `${type}/4`)).toBe('SCHEMA_UNKNOWN')
    expect(check({ temp: 21 }, 'https://example.com/schema')).toBe(`${type}/1`)
  })

  test('that none takes is told what the newest says', () => {
    const verdict = createSchemaCheck({ schemas: registryOf({ [type]: versions }), unknownTypes: 'accept' })(
      type,
      { data: {} },
    )
    expect(verdict).toEqual({
      ok: false,
      fault: {
        reason: 'SCHEMA_VIOLATION',
        detail: 'version 3: data.celsius: is required; nor does an older one take it',
      },
    })
  })
})

test('of a version that is retired nothing is accepted any more, however it is chosen', () => {
  const check = checking(registryOf({ [type]: versions }, { [type]: [1] }))
  expect(check({ temp: 21 })).toBe('SCHEMA_VIOLATION')
  expect(check({ temp: 21 }, `${type}/1`)).toBe('SCHEMA_RETIRED')
  expect(check({ temp: 21 }, undefined, 1)).toBe('SCHEMA_RETIRED')
  expect(check({ temperature: 21 })).toBe(`${type}/2`)
  const none = checking(registryOf({ [type]: versions }, { [type]: [1, 2, 3] }))
  expect(none({ temperature: 21 })).toBe('SCHEMA_RETIRED')
})

test('an older version is tried only when the newest refuses; and none behind a check that comes to no end (G7)', () => {
  const tried: number[] = []
  const watched = (endless: boolean): SchemaRegistry => {
    const registry = registryOf({ [type]: versions })
    return {
      ...registry,
      firstFault(...asked) {
        tried.push(asked[1])
        const fault = registry.firstFault(...asked)
        return fault && { ...fault, keyword: endless ? '' : 'required' }
      },
    }
  }
  checking(watched(false))({ celsius: 21 })
  expect(tried.splice(0)).toEqual([3])
  checking(watched(false))({ temp: 21 })
  expect(tried.splice(0)).toEqual([3, 2, 1])
  expect(checking(watched(true))({ temp: 21 })).toBe('SCHEMA_VIOLATION')
  expect(tried).toEqual([3])
})

test('what passed is counted by version and who chose it, and by nothing that a device can make up (G7)', () => {
  const use: SchemaUse = new Map()
  const check = checking(registryOf({ [type]: versions }, { [type]: [3] }), use)
  expect([...use.keys()]).toEqual([`${type}/2`, `${type}/1`])
  check({ temp: 1 })
  check({ temp: 1 }, `${type}/1`)
  check({ temperature: 1 }, undefined, 2)
  check({ temperature: 1 }, `${type}/77`)
  expect(Object.fromEntries(use)).toEqual({
    [`${type}/1`]: { named: 1, route: 0, fit: 1 },
    [`${type}/2`]: { named: 0, route: 1, fit: 0 },
  })
})

test('routes that name a version which is not accepted are refused, each with what is wrong', () => {
  const schemas = registryOf({ [type]: versions }, { [type]: [1] })
  const routes = [1, 2, 7].map((schemaVersion) => ({ topic: `t/${schemaVersion}`, type, schemaVersion }))
  expect(() => refuseUnknownVersions(routes, schemas)).toThrow(
    expect.objectContaining({
      code: 'SCHEMA_FOLDER',
      message: expect.stringMatching(/t\/1: com\.acme\.climate\/1 is retired\n.*t\/7: there is no/) as string,
    }),
  )
  expect(() => refuseUnknownVersions(routes.slice(1, 2), schemas)).not.toThrow()
})
