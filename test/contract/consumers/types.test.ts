import { mkdirSync, mkdtempSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { documentOf } from '../../../cloud/testing/laws/documents.ts'
import { seeded } from '../../../cloud/testing/laws/random.ts'
import { eventsFileOf } from '../../../cloud/typing/events-file.ts'
import { loadSchemas } from '../../../src/schemas/folder.ts'
import { compiled } from '../../support/compiled-examples.ts'

const schemas: Readonly<Record<string, unknown>> = {
  'a.plain': {
    type: 'object',
    properties: { n: { type: 'integer', minimum: 3 }, s: { type: ['string', 'null'] } },
    required: ['n'],
  },
  'a.closed': { type: 'object', properties: { 'a-b': { const: 'x' } }, additionalProperties: false },
  'a.tree': {
    $ref: '#/$defs/node',
    $defs: {
      node: {
        type: 'object',
        properties: { next: { $ref: '#/$defs/node' }, of: { enum: [1, 'one', null, { a: 1 }] } },
      },
    },
  },
  'a.tuple': {
    type: 'array',
    prefixItems: [{ type: 'string', maxLength: 3 }, { type: 'number' }],
    items: false,
    minItems: 1,
    maxItems: 2,
  },
  'a.list': {
    type: 'object',
    properties: { list: { type: 'array', items: { type: 'string', pattern: '^[a-c]{2,4}$' }, maxItems: 4 } },
    required: ['list', 'other'],
  },
  'a.some': {
    anyOf: [{ type: 'string' }, { type: 'object', properties: { a: { type: 'number' } }, required: ['a'] }],
  },
  'a.all': {
    allOf: [
      { type: 'object', properties: { a: { type: 'number' } } },
      { type: 'object', properties: { b: { type: 'boolean' } }, required: ['b'] },
    ],
  },
  'a.loose': { properties: { a: { type: 'number' } } },
  'a.map': { type: 'object', additionalProperties: { type: 'number' } },
  'a.anything': true,
}

function folderOf(given: Readonly<Record<string, unknown>>): string {
  const folder = mkdtempSync(join(tmpdir(), 'tidegate-schemas-'))
  for (const [type, schema] of Object.entries(given)) {
    mkdirSync(join(folder, type))
    writeFileSync(join(folder, type, '1.json'), JSON.stringify(schema))
  }
  return folder
}

const folder = folderOf(schemas)
const { text, types, versions } = eventsFileOf(folder)

test('the types of events allow everything that their schemas allow', () => {
  expect({ types, versions }).toEqual({ types: 10, versions: 10 })
  const registry = loadSchemas(folder)
  const random = seeded(3)
  const lines = Object.entries(schemas).flatMap(([type, schema]) =>
    Array.from({ length: 60 }, () => documentOf(schema, random))
      .filter((data) => registry.faults(type, 1, data).length === 0)
      .map((data, index) => {
        const name = `${type.replace('.', '_')}_${index}`
        return `const ${name} = ${JSON.stringify(data)}${data === null ? '' : ' as const'}; taken('${type}', ${name})`
      }),
  )
  expect(lines.length).toBeGreaterThan(300)
  const taken = `function taken<Type extends keyof TidegateEvents>(type: Type, data: TidegateEvents[Type][1]): void { void [type, data] }`
  expect(compiled({ 'events.d.ts': text, 'taken.ts': [taken, ...lines, 'export {}'].join('\n') })).toBe('')
}, 120_000)

const right = `
import { defineConsumer } from '@tidegate/consumer'
defineConsumer({
  group: 'g',
  events: { 'a.plain': 1, 'a.closed': 1, 'a.anything': 1 },
  async handle(event, { tx }) {
    if (event.type === 'a.plain') { const n: number = event.data.n; void n }
    else if (event.type === 'a.closed') { const x: 'x' | undefined = event.data['a-b']; void x }
    else { const data: unknown = event.data; void data }
    const { rows } = await tx.query<{ n: string }>\`select \${event.device} as n\`
    const n: string | undefined = rows[0]?.n
    void n
  },
})
defineConsumer({ group: 'g', types: ['a.#'], handle({ data }) { const d: unknown = data; void d } })
defineConsumer({ group: 'g', types: ['#'], dedup: 'own', async handleBatch(entries, { tx }) { for (const { event } of entries) await tx.query('select $1', [event.id]) } })
`

test.each([
  ['a member that the schema has not', `event.data.m`, /Property 'm' does not exist/],
  ['a member of another type', `event.data.n.length`, /Property 'length' does not exist on type 'number'/],
  [
    'what may be missing, as if it were there',
    `event.data.s.length`,
    /possibly 'null' or 'undefined'|possibly 'undefined'|possibly 'null'/,
  ],
])(
  'with events the compiler refuses %s',
  (_, expression, says) => {
    const file = `import { defineConsumer } from '@tidegate/consumer'
defineConsumer({ group: 'g', events: { 'a.plain': 1 }, handle(event) { void ${expression} } })`
    expect(compiled({ 'events.d.ts': text, 'right.ts': right, 'wrong.ts': file })).toMatch(says)
  },
  120_000,
)

test('what is right compiles; a version that there is not, an unknown option and both of types and events do not', () => {
  expect(compiled({ 'events.d.ts': text, 'right.ts': right })).toBe('')
  const wrong = [
    `{ group: 'g', events: { 'a.plain': 2 }, handle() {} }`,
    `{ group: 'g', types: ['#'], timout: '3s', handle() {} }`,
    `{ group: 'g', types: ['#'], events: { 'a.plain': 1 }, handle() {} }`,
    `{ group: 'g', handle() {} }`,
    `{ group: 'g', events: { 'a.plian': 1 }, handle() {} }`,
  ].map((options) => `defineConsumer(${options})`)
  const said = compiled({
    'events.d.ts': text,
    'wrong.ts': [`import { defineConsumer } from '@tidegate/consumer'`, ...wrong].join('\n'),
  })
  for (const line of [2, 3, 4, 5, 6]) expect(said).toContain(`wrong.ts(${line},`)
  const untyped = `import { defineConsumer } from '@tidegate/consumer'
defineConsumer({ group: 'g', events: { 'a.plian': 1 }, handle({ data }) { const d: unknown = data; void d } })`
  expect(compiled({ 'untyped.ts': untyped })).toBe('')
}, 120_000)
