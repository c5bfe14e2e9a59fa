import { describe, expect, test } from 'vitest'
import { caseFaults, parseCases } from '../../../src/schemas/upcast/cases.ts'
import type { Upcast } from '../../../src/schemas/upcast/chain.ts'
import { parseUpcast } from '../../../src/schemas/upcast/file.ts'
import { createReadAs } from '../../../src/schemas/upcast/read-as.ts'
import { applySteps } from '../../../src/schemas/upcast/steps.ts'
import { Ledger } from '../../support/cloud/cloud-events.ts'
import { registryOf } from '../../support/fakes/schemas.ts'

function stepsOf(text: string) {
  const parsed = parseUpcast(text)
  if (!('steps' in parsed)) throw new Error(parsed.faults.join('\n'))
  return parsed.steps
}

const after = (data: unknown, ...steps: string[]): unknown =>
  applySteps(data, stepsOf(steps.map((step) => `- ${step}`).join('\n')))

describe('a declarative upcast', () => {
  test('renames, moves, fills in, drops and measures anew, in the order of its steps', () => {
    const before = { temp: 212, lat: 47.5, lon: 8.5, old: true }
    expect(
      after(
        before,
        'rename: { path: /temp, to: temperature }',
        'unit: { path: /temperature, offset: -32 }',
        'unit: { path: /temperature, scale: 5/9 }',
        'move: { from: /lat, to: /position/at/lat }',
        'move: { from: /lon, to: /position/at/lon }',
        'default: { path: /position/datum, value: WGS84 }',
        'drop: /old',
      ),
    ).toEqual({ temperature: 100, position: { at: { lat: 47.5, lon: 8.5 }, datum: 'WGS84' } })
    expect(before).toEqual({ temp: 212, lat: 47.5, lon: 8.5, old: true })
  })

  test.each<[unknown, string, unknown]>([
    [{ a: 1, b: 2 }, 'rename: { path: /a, to: b }', { a: 1, b: 2 }],
    [{ a: 1, b: null }, 'move: { from: /a, to: /b }', { a: 1, b: null }],
    [{ a: 1, b: [] }, 'move: { from: /a, to: /b/c }', { a: 1, b: [] }],
    [{ b: 1 }, 'rename: { path: /a, to: c }', { b: 1 }],
    [{ a: null }, 'default: { path: /a, value: 1 }', { a: null }],
    [{}, 'default: { path: /a/b, value: 1 }', {}],
    [{ a: 'warm' }, 'unit: { path: /a, scale: 2 }', { a: 'warm' }],
    [{ a: 1e200 }, 'unit: { path: /a, scale: 1e99 }', { a: 1e200 }],
    [{ a: [{ b: 1 }] }, 'drop: /a/0', { a: [{ b: 1 }] }],
    [21, 'drop: /a', 21],
    [[1], 'default: { path: /0, value: 2 }', [1]],
    [{ 'a/b': 1, '~': 2 }, 'rename: { path: /a~1b, to: c }', { c: 1, '~': 2 }],
    [{ constructor: 1 }, 'rename: { path: /constructor, to: toString }', { toString: 1 }],
  ])(
    'overwrites nothing, and does nothing where there is nothing to be done: %j, %s',
    (data, step, expected) => {
      expect(after(data, step)).toEqual(expected)
    },
  )

  test('that cannot be used is told every fault at once, with what was meant', () => {
    expect(
      parseUpcast(`
- renam: { path: /a, to: b }
- rename: { path: a, to: __proto__ }
- move: { from: /a, to: /a/b }
- unit: { path: /a, scal: 2 }
- unit: { path: /a, scale: 0, offset: much }
- default: { path: /a }
- default: { path: /a, value: .inf }
- drop: ''
- drop: /a
  default: { path: /b, value: 1 }
- rename: { path: /x/a, to: a }
`).faults,
    ).toEqual([
      'step 1: renam is no step; did you mean rename?; there are rename, move, default, drop, unit',
      'step 2: rename.path must be a JSON pointer such as /temperature',
      'step 2: rename.to must not name __proto__',
      'step 3: move: one of the two places is within the other',
      'step 4: unit.scal is no key here; did you mean scale?',
      'step 5: unit.scale must be a number other than 0, such as 0.1 or 5/9',
      'step 5: unit.offset must be a number, such as -32',
      'step 6: default.value is required',
      'step 7: default.value must be JSON that PostgreSQL can keep',
      'step 8: drop must be a JSON pointer such as /temperature',
      'step 9: must be one of rename, move, default, drop, unit, each as a list entry of its own',
      'step 10: rename gives a member the name that it has',
    ])
    expect(parseUpcast('a: 1').faults).toEqual(['must be a list of steps'])
    expect(parseUpcast('- [').faults).toEqual([expect.stringMatching(/^is not valid YAML: /)])
    expect(parseUpcast('- &a { drop: /a }\n- *a').faults).toEqual([
      expect.stringMatching(/^is not valid YAML: /),
    ])
    expect(parseUpcast('')).toEqual({ steps: [], faults: [] })
  })
})

const upcast = (apply: Upcast['apply']) => ({ from: 1, to: 2, apply })

describe('a case of an upcast', () => {
  const valid = { before: () => [], after: () => [] }

  test('says what is made of what, and is told apart from what it is not', () => {
    expect(parseCases('[{ "name": "cold", "from": 1, "to": null }]').faults).toEqual([])
    expect(parseCases('[]').faults).toHaveLength(1)
    expect(parseCases('{').faults).toEqual([expect.stringMatching(/^is not JSON/)])
    expect(parseCases('[3, { "form": 1 }, { "from": 1, "to": 2, "name": 3 }]').faults).toEqual([
      'case 1: must be { "from": …, "to": … }',
      'case 2: form is no key here; there are name, from, to',
      'case 2: from is required',
      'case 2: to is required',
      'case 3: name must be text',
    ])
  })

  test('finds another result, one that differs from run to run, a fault that is thrown, and ends that are not of their versions', () => {
    let runs = 0
    expect(
      caseFaults(
        { from: 1, to: 2 },
        upcast((data) => Number(data) + 1),
        valid,
      ),
    ).toEqual([])
    expect(
      caseFaults(
        { from: 1, to: 3 },
        upcast(() => 2),
        valid,
      ),
    ).toEqual(['it makes 2 of it'])
    expect(
      caseFaults(
        { from: 1, to: 1 },
        upcast(() => ++runs),
        valid,
      ),
    ).toEqual(['two runs on the same data differ'])
    expect(
      caseFaults(
        { from: 1, to: 1 },
        upcast(() => {
          throw new Error('no')
        }),
        {
          before: () => ['bad'],
          after: () => ['worse'],
        },
      ),
    ).toEqual(['from is no version 1: bad', 'to is no version 2: worse', 'it throws: no'])
  })
})

const type = 'com.acme.climate'
const exactly =
  (...names: string[]) =>
  (data: unknown): string[] =>
    names.every((name) => Object.hasOwn(data as object, name)) ? [] : [`data: must have ${names.join()}`]
const registry = registryOf({
  [type]: { 1: exactly('f'), 2: exactly('f', 'unit'), 3: exactly('c'), 5: exactly('c'), 6: exactly('k') },
})
const upcasts: Record<string, Upcast> = {
  '1-2': declared(1, 2, '- default: { path: /unit, value: F }'),
  '2-3': declared(2, 3, '- rename: { path: /f, to: c }\n- drop: /unit'),
}

function declared(from: number, to: number, text: string): Upcast {
  const steps = stepsOf(text)
  return { from, to, steps, apply: (data) => applySteps(data, steps) }
}

const read = createReadAs(registry, { find: (_, from, to) => upcasts[`${from}-${to}`] })
const eventOf = (data: unknown, version?: number) =>
  new Ledger().next('d', { type, data, ...(version !== undefined && { dataschema: `${type}/${version}` }) })
    .event
const readAs = (data: unknown, version: number | undefined, wanted: number) => {
  const event = eventOf(data, version)
  const before = structuredClone(event)
  try {
    const { data: brought, dataschema } = read(event, wanted)
    return [brought, dataschema]
  } catch (error) {
    const { code, retryable, hint } = error as { code: string; retryable: boolean; hint: string }
    return { code, retryable, hint }
  } finally {
    expect(event).toEqual(before)
  }
}

describe('an event read as a version', () => {
  test('that it was recorded with is itself', () => {
    const event = eventOf({ c: 1 }, 3)
    expect(read(event, 3)).toBe(event)
  })

  test('later than its own is brought forward, step by step, over versions that nothing has to be done for', () => {
    expect(readAs({ f: 70 }, 1, 2)).toEqual([{ f: 70, unit: 'F' }, `${type}/2`])
    expect(readAs({ f: 70 }, 1, 5)).toEqual([{ c: 70 }, `${type}/5`])
  })

  test('that no step leads to says which file to write; one that a step leads past says to correct it', () => {
    expect(readAs({ c: 21 }, 3, 6)).toEqual({
      code: 'UPCAST_MISSING',
      retryable: false,
      hint: expect.stringContaining(`${type}/upcast/3-5.yaml and ${type}/upcast/5-6.yaml`) as string,
    })
    expect(readAs({ g: 1 }, 1, 2)).toMatchObject({ code: 'UPCAST_FAILED', retryable: false })
  })

  test('earlier than its own is what it is, if nothing between them changes what it means, and it fits', () => {
    expect(readAs({ f: 1, unit: 'F' }, 2, 1)).toEqual([{ f: 1, unit: 'F' }, `${type}/1`])
    expect(readAs({ c: 1 }, 5, 3)).toEqual([{ c: 1 }, `${type}/3`])
    expect(readAs({ c: 1, f: 1, unit: 'F' }, 3, 2)).toMatchObject({ code: 'SCHEMA_NEWER', retryable: true })
    expect(readAs({ k: 1 }, 6, 5)).toMatchObject({ code: 'SCHEMA_NEWER', retryable: true })
  })

  test('that the cloud does not know, or from one, waits for whoever brings the schema', () => {
    expect(readAs({ k: 1 }, 7, 6)).toMatchObject({ code: 'SCHEMA_UNKNOWN', retryable: true })
    expect(readAs({ k: 1 }, 6, 7)).toMatchObject({ code: 'SCHEMA_UNKNOWN', retryable: true })
  })

  test('and recorded without a schema is of the version that takes it, the one that is wanted first', () => {
    expect(readAs({ f: 1, unit: 'F', c: 2 }, undefined, 2)).toEqual([{ f: 1, unit: 'F', c: 2 }, `${type}/2`])
    expect(readAs({ f: 70 }, undefined, 3)).toEqual([{ c: 70 }, `${type}/3`])
    expect(readAs({}, undefined, 3)).toMatchObject({ code: 'UPCAST_FAILED', retryable: false })
  })

  test('by a function that throws is refused, with what it said', () => {
    const failing = createReadAs(registry, {
      find: (_, from, to) => ({
        from,
        to,
        apply: () => {
          throw new Error('no idea')
        },
      }),
    })
    expect(() => failing(eventOf({ f: 1 }, 1), 2)).toThrow(
      expect.objectContaining({
        code: 'UPCAST_FAILED',
        message: expect.stringContaining('1-2 failed: no idea') as string,
      }),
    )
  })
})
