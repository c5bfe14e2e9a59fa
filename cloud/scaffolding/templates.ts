/** What a new consumer is to be. */
export interface NewConsumer {
  group: string
  type: string
  /** Of its schema, and data that it allows; undefined: there is no schema of the type here. */
  schema: { version: number; example: unknown } | undefined
  language: 'ts' | 'js'
  runner: 'vitest' | 'node'
}

/** Its files, by name. */
export function filesOf(consumer: NewConsumer): Readonly<Record<string, string>> {
  const { group, language } = consumer
  return {
    [`${group}.${language}`]: moduleOf(consumer),
    [`${group}.sql`]: tablesOf(consumer),
    [`${group}.test.${language}`]: testOf(consumer),
  }
}

/** What `npx tsc` needs to know of a project that has said nothing: it checks, and Node and vitest run what is written. */
export const tsconfig = `{
  "compilerOptions": {
    "target": "ES2022",
    "lib": ["ES2023"],
    "module": "ESNext",
    "moduleResolution": "bundler",
    "types": ["node"],
    "strict": true,
    "skipLibCheck": true,
    "noEmit": true,
    "allowImportingTsExtensions": true
  }
}
`

/** Apart, so that nobody takes what is written for what this module imports. */
const uses = 'import'

function tableOf({ group }: NewConsumer): string {
  const name = group.replaceAll('-', '_')
  return `consumer_${name}.${name}`
}

function moduleOf(consumer: NewConsumer): string {
  const { group, type, schema } = consumer
  const wanted = schema ? `events: { '${type}': ${schema.version} }` : `types: ['${type}']`
  return `${uses} { defineConsumer } from '@tidegate/consumer'

export default defineConsumer({
  group: '${group}',
  ${wanted},
  async handle(event, { tx }) {
    await tx.query\`insert into ${tableOf(consumer)} (device, at, data)
      values (\${event.device}, \${event.time}, \${JSON.stringify(event.data)})\`
  },
})
`
}

function tablesOf(consumer: NewConsumer): string {
  const table = tableOf(consumer)
  const [schema] = table.split('.')
  return `-- Run once, by who may make schemas, before the consumer's first start.
create schema ${schema};
create table ${table} (
  number bigint generated always as identity primary key,
  device text not null,
  at timestamptz not null,
  data jsonb not null
);
-- What the consumer may when the cloud runs it.
grant usage on schema ${schema} to tidegate_module;
grant select, insert, update, delete on ${table} to tidegate_module;
`
}

function testOf(consumer: NewConsumer): string {
  const { group, type, schema, language, runner } = consumer
  const variable = group.replaceAll(/-(.?)/g, (_, letter: string) => letter.toUpperCase())
  const data = inCode(schema?.example ?? {})
  const isVitest = runner === 'vitest'
  const frame = isVitest
    ? `${uses} { expect, test } from 'vitest'`
    : `${uses} assert from 'node:assert/strict'\n${uses} { test } from 'node:test'`
  const rows = `await t.rows\`select device from ${tableOf(consumer)}\``
  const says = isVitest
    ? `expect(${rows}).toEqual([{ device: 'device-1' }])`
    : `assert.deepEqual(${rows}, [{ device: 'device-1' }])`
  const laws = schema ? 't.laws()' : `t.laws({ samples: { '${type}': [${data}] } })`
  return `${frame}
${uses} { testConsumer } from '@tidegate/consumer/testing'
${uses} ${variable} from './${group}.${language}'

test('${group} keeps what comes, once, whatever happens', async () => {
  const t = await testConsumer(${variable}, { sql: new URL('./${group}.sql', import.meta.url) })
  try {
    await t.given('${type}', { device: 'device-1', data: ${data} })
    ${says}
    await ${laws}
  } finally {
    await t.close()
  }
}${isVitest ? ', 60_000' : ''})
`
}

function inCode(value: unknown): string {
  return JSON.stringify(value, undefined, 1).replaceAll(/\n\s*/g, ' ')
}
