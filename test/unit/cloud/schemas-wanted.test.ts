import { expect, test } from 'vitest'
import { defineConsumer } from '../../../cloud/pipeline/consumer.ts'
import { rollups, rollupsDefault } from '../../../cloud/projections/built-in/rollups.ts'
import { defineProjection } from '../../../cloud/projections/definition.ts'
import { definitionOf } from '../../../cloud/projections/projections.ts'
import { refuseUnknownWanted, wantingOf } from '../../../cloud/reading/schemas.ts'
import { upcastersTo } from '../../../src/schemas/upcast/chain.ts'
import { climateSchemas } from '../../support/fakes/schemas.ts'

const type = 'com.acme.climate'
const faultOf = (wanting: ReturnType<typeof wantingOf>): string | undefined => {
  try {
    refuseUnknownWanted(wanting, { registry: climateSchemas })
    return undefined
  } catch (error) {
    return (error as Error).message
  }
}

const counted = (versions: Record<string, number>, types = ['#']) =>
  rollups({ ...rollupsDefault, types, version: 2, versions })

test('every version that somebody asks for has to be there, and of a type that it takes', () => {
  const consumer = (version: number) =>
    defineConsumer({ group: 'g', events: { [type]: version }, handle() {} })
  const projection = (version: number) =>
    defineProjection({ name: 'p', version: 1, events: { [type]: version }, tables: 'x', apply() {} })
  expect(faultOf(wantingOf([consumer(2)], [projection(1), counted({ [type]: 2 })]))).toBeUndefined()
  expect(faultOf(wantingOf([consumer(3)], [projection(4), counted({ [type]: 5, 'com.acme.x': 1 })]))).toMatch(
    /consumer g: com\.acme\.climate\/3\n.*projection p: com\.acme\.climate\/4\n.*projection rollups: com\.acme\.climate\/5\n.*projection rollups: com\.acme\.x\/1$/s,
  )
  expect(faultOf(wantingOf([], [counted({ [type]: 2 }, ['com.acme.power'])]))).toContain(
    'projection rollups: com.acme.climate/2, whose type none of its patterns takes',
  )
})

const made = (events: string[] | Record<string, number>) => ({
  ...defineProjection({ name: 'p', version: 1, events, tables: 'x', apply() {} }),
  tables: 'x',
})

const upcasts = (digest: string) => ({
  find: (_: string, from: number, to: number) => ({ from, to, digest, apply: (data: unknown) => data }),
})

test('another upcaster makes another projection, of those that ask for what it leads to; all others are what they were', () => {
  const definitionBy = (digest: string, projection: ReturnType<typeof made>): string =>
    definitionOf(projection, (of, version) =>
      upcastersTo(of, version, { registry: climateSchemas, upcasts: upcasts(digest) }),
    )
  const second = made({ [type]: 2 })
  expect(definitionBy('a', second)).not.toBe(definitionBy('b', second))
  for (const other of [made([type]), made({ [type]: 1 })])
    expect(definitionBy('a', other)).toBe(definitionOf(other, () => []))
})
