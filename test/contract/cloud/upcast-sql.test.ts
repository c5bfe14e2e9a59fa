import fc from 'fast-check'
import { expect, test } from 'vitest'
import { createDatabase } from '../../../cloud/database/database-postgres.ts'
import type { MemberPath } from '../../../src/schemas/upcast/pointer.ts'
import { sqlOfSteps } from '../../../src/schemas/upcast/sql.ts'
import { applySteps, type Step } from '../../../src/schemas/upcast/steps.ts'
import { createReadyDatabase } from '../../support/servers.ts'

/** Few names, so that paths meet what is there; some that need to be quoted, and one that an array would take for a place. */
const name = fc.constantFrom('a', 'b', '0', "o'x", 'q"\\', 'ü')
const path = fc.array(name, { minLength: 1, maxLength: 3 }).map((names) => names as unknown as MemberPath)
const number = fc.oneof(
  fc.double({ noNaN: true, noDefaultInfinity: true }),
  fc.integer({ min: -100, max: 100 }),
  fc.constantFrom(0, 5e-324, 1.7e308, 1e150, 1e-150, 0.1),
)
const { json } = fc.letrec<{ json: unknown }>((tie) => ({
  json: fc.oneof(
    { maxDepth: 3 },
    // The first is what there is at the bottom.
    fc.constantFrom(null, true, 'text', '', '7'),
    { weight: 4, arbitrary: fc.dictionary(name, tie('json'), { maxKeys: 4, noNullPrototype: true }) },
    { weight: 2, arbitrary: number },
    fc.array(tie('json'), { maxLength: 2 }),
  ),
}))
const factor = fc.constantFrom(-1, 0.1, 5 / 9, 1.8, 1e100, 1e-100, 3)
const step: fc.Arbitrary<Step> = fc.oneof(
  fc
    .record({ kind: fc.constant('move' as const), from: path, to: path })
    .filter(({ from, to }) => !from.every((each, i) => (to[i] ?? each) === each)),
  fc.record({ kind: fc.constant('default' as const), path, value: json }),
  fc.record({ kind: fc.constant('drop' as const), path }),
  fc.record({
    kind: fc.constant('unit' as const),
    path,
    scale: factor,
    offset: fc.constantFrom(0, -32, 273.15),
  }),
)

const sorted = (value: unknown): unknown =>
  Array.isArray(value)
    ? value.map(sorted)
    : typeof value === 'object' && value !== null
      ? Object.fromEntries(
          Object.entries(value)
            .toSorted(([one], [other]) => (one < other ? -1 : 1))
            .map(([key, each]) => [key, sorted(each)]),
        )
      : value
const textOf = (value: unknown): string => JSON.stringify(sorted(value))

test('declared steps make the same of the same data in PostgreSQL as here, for whatever data and steps', async () => {
  const database = createDatabase({ url: await createReadyDatabase(), poolMax: 1, applicationName: 'test' })
  try {
    let changed = 0
    await fc.assert(
      fc.asyncProperty(
        fc.array(step, { minLength: 1, maxLength: 6 }),
        fc.array(json, { minLength: 30, maxLength: 30 }),
        async (steps, documents) => {
          const texts = documents.map((document) => JSON.stringify(document))
          const rows = await database.query<{ after: string }>(
            `select (${sqlOfSteps('body::jsonb', steps)})::text as after
             from unnest($1::text[]) with ordinality as given (body, n) order by n`,
            [texts],
          )
          for (const [index, text] of texts.entries()) {
            const expected = textOf(applySteps(JSON.parse(text), steps))
            if (expected !== textOf(JSON.parse(text))) changed += 1
            expect(textOf(JSON.parse((rows[index] as { after: string }).after))).toBe(expected)
          }
        },
      ),
      { numRuns: 100 },
    )
    expect(changed).toBeGreaterThan(300)
  } finally {
    await database.close()
  }
})

test('a hundred steps are an expression that PostgreSQL plans at once', async () => {
  const database = createDatabase({ url: await createReadyDatabase(), poolMax: 1, applicationName: 'test' })
  try {
    const steps = Array.from({ length: 100 }, (_, n): Step => ({
      kind: 'move',
      from: [`m${n}`],
      to: ['m', `m${n + 1}`],
    }))
    const rows = await database.query<{ after: unknown }>(
      `select (${sqlOfSteps('body', steps)}) as after from (values ('{"m0": 1, "m7": 2}'::jsonb)) as given (body)`,
    )
    expect(rows[0]?.after).toEqual({ m: { m1: 1, m8: 2 } })
  } finally {
    await database.close()
  }
})
