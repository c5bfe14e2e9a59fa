import { CodeGen } from 'ajv/dist/compile/codegen/index.js'
import { describe, expect, onTestFinished, test, vi } from 'vitest'
import { compileVersions, type Validate } from '../../../src/schemas/compiler.ts'

function validateOf(schema: unknown): Validate {
  const { validators, faults } = compileVersions(new Map([[1, schema]]))
  expect(faults).toEqual(new Map())
  return validators.get(1) as Validate
}

describe('a long schema', () => {
  test('says of data what a short one says', () => {
    const member = { type: 'object', properties: { a: { type: 'number', maximum: 3 } }, required: ['a'] }
    const rules = { properties: { m1: member }, anyOf: [{ required: ['m1'] }, { required: ['m2'] }] }
    const long = { ...rules, $defs: { unused: { description: 'x'.repeat(20_000) } } }
    for (const data of [{}, { m1: {} }, { m1: { a: 4 } }, { m1: { a: 3 } }, { m2: 1 }, { m1: [] }, 7, null])
      expect([data, validateOf(long)(data)]).toEqual([data, validateOf(rules)(data)])
  })

  test('of hundreds of alternatives is made and judged', () => {
    const branches = Array.from({ length: 500 }, (_, n) => ({ properties: { kind: { const: n } } }))
    const validate = validateOf({ required: ['kind'], oneOf: branches })
    expect(validate.first({ kind: 7 })).toBeUndefined()
    expect(validate.first({ kind: -1 })).toMatchObject({ ofAlternative: true })
  })

  test('is not made better than it is for a short one either that refers to it (G7)', () => {
    const branches = Array.from({ length: 1_500 }, (_, n) => ({ properties: { kind: { const: n } } }))
    const long = { $id: 'urn:acme:long', required: ['kind'], anyOf: branches }
    // Who looks at schemas is made once, and well.
    validateOf({ type: 'number' })
    const optimize = vi.spyOn(CodeGen.prototype, 'optimize')
    onTestFinished(() => optimize.mockRestore())
    const { faults, validators } = compileVersions(
      new Map<number, unknown>([
        [1, long],
        [2, { $ref: 'urn:acme:long' }],
      ]),
    )
    expect(faults).toEqual(new Map())
    expect(validators.get(2)?.first({ kind: 7 })).toBeUndefined()
    expect(new Set(optimize.mock.calls.flat())).toEqual(new Set([0]))
    validateOf({ type: 'string' })
    expect(optimize).toHaveBeenLastCalledWith(1)
  })

  test('that is nested too deeply is refused by what it is, and not by what the engine says', () => {
    const { faults } = compileVersions(new Map([[1, nested(100_000)]]))
    expect(String(faults.get(1))).toContain('is nested too deeply')
  })
})

function nested(depth: number): object {
  let schema: object = { type: 'number' }
  for (let level = 0; level < depth; level += 1) schema = { not: schema }
  return schema
}
