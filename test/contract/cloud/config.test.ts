import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import { loadCloudConfig } from '../../../cloud/config.ts'
import { loadConsumers } from '../../../cloud/load-consumers.ts'
import type { ConfiguredConsumer } from '../../../cloud/pipeline/definition.ts'
import { loadProjections } from '../../../cloud/load-projections.ts'

const folder = mkdtempSync(join(tmpdir(), 'tidegate-config-'))
afterAll(() => rmSync(folder, { recursive: true }))

function file(name: string, text: string): string {
  const path = join(folder, name)
  writeFileSync(path, text)
  return path
}

const at = (name: string): string => join(import.meta.dirname, '../../../.tidegate/pki', name)

describe('the cloud’s configuration', () => {
  test('the example holds the defaults, but for what it says it does not', () => {
    const example = loadCloudConfig(join(import.meta.dirname, '../../../config/cloud.example.yaml'), {})
    const defaults = loadCloudConfig(undefined, {})
    // Said here, so that whoever sets the ladder of other groups does not set this one as well.
    const parking = { ...defaults.parking, ladder: [1_000, 5_000, 30_000, 120_000] }
    expect(example).toEqual({
      ...defaults,
      parking,
      broker: {
        insecure: false,
        auth: 'password',
        url: 'amqps://cloud:change-me@localhost:5671',
        tls: { ca: at('ca.crt'), cert: at('cloud.crt'), key: at('cloud.key') },
      },
      database: { insecure: false, url: 'postgres://tidegate:change-me@localhost:5432/tidegate' },
    })
  })

  test('paths are relative to the file, and the environment beats it', () => {
    const path = file(
      'paths.yaml',
      'schemas: { folder: s }\nconsumers: [{ module: ./alerts.js }]\nbroker: { url: "amqps://h", tls: { ca: ca.crt } }\nbatch: { max: 7 }\nprefetch: 9\n',
    )
    const config = loadCloudConfig(path, {
      TIDEGATE_CLOUD__BATCH__MAX: '8',
      TIDEGATE_CLOUD__RETRY__LADDER: '[1s]',
    })
    expect(config.schemas.folder).toBe(join(folder, 's'))
    expect(config.consumers).toEqual([{ module: join(folder, 'alerts.js') }])
    expect(config.broker.tls?.ca).toBe(join(folder, 'ca.crt'))
    expect(config.batch.max).toBe(8)
    expect(config.retry.ladder).toEqual([1000])
  })

  test('every fault is named at once, by path', () => {
    const path = file(
      'faults.yaml',
      'broker: { url: "http://x" }\npartitions: 0\nconsumers: [nonsense]\nretry: { ladder: [soon] }\nunknown: 1\n',
    )
    expect(() => loadCloudConfig(path, {})).toThrow(
      expect.objectContaining({
        code: 'CONFIG_INVALID',
        message: expect.stringMatching(
          /broker\.url[^]*partitions[^]*consumers\[0\][^]*retry\.ladder\[0\][^]*unknown/,
        ) as string,
      }),
    )
  })

  test.each([
    ['prefetch: 10', 'prefetch'],
    ['sharing: { beat: 5s, goneAfter: 6s }', 'sharing.goneAfter'],
    ['retry: { ladder: [0] }', 'retry.ladder[0]: must be at least 1ms'],
    ['retry: { ladder: [5s, 60d] }', 'retry.ladder[1]: must be at most 30d'],
    ['handlerTimeout: 0', 'handlerTimeout: must be at least 1ms'],
    ['handlerTimeout: 30d', 'handlerTimeout: must be at most 24h'],
    ['sharing: { beat: 0 }', 'sharing.beat: must be at least 100ms'],
    ['inbox: { retention: 0s }', 'inbox.retention: must be at least 1h'],
    ['inbox: { pruneEvery: 0 }', 'inbox.pruneEvery: must be at least 1s'],
    ['batch: { timeTarget: 0 }', 'batch.timeTarget: must be at least 1ms'],
    ['stop: { grace: 30d }', 'stop.grace: must be at most 1h'],
    ['ops: { stallAfter: 0 }', 'ops.stallAfter: must be at least 1s'],
    ['broker: { tls: { ca: a, cert: b } }', 'broker.tls.key'],
  ])('%s is refused at %s', (text, where) => {
    expect(() => loadCloudConfig(file('one.yaml', text), {})).toThrow(where)
  })
})

describe('consumer modules', () => {
  const defaults = { ladderMs: [5_000], timeoutMs: 30_000 }

  test('say how often and how long, or what is configured holds', async () => {
    const module = file(
      'own.mjs',
      `export default { group: 'own', types: ['#'], retry: ['1s', '2s'], timeout: '7s', handle() {} }`,
    )
    expect(await loadConsumers({ consumers: [{ module }, 'history'], defaults })).toMatchObject([
      { group: 'own', ladderMs: [1_000, 2_000], timeoutMs: 7_000 },
      { group: 'history', ladderMs: [5_000], timeoutMs: 30_000 },
    ])
  })

  test('may default-export plain options, without importing anything', async () => {
    const module = file('plain.mjs', `export default { group: 'plain', types: ['#'], handle() {} }`)
    expect(await loadConsumers({ consumers: [{ module }, 'history'], defaults })).toMatchObject([
      { group: 'plain' },
      { group: 'history' },
    ])
  })

  test('is made anew if another copy of the package has made it, and is taken as it is if somebody has wrapped its handler', async () => {
    const other = new URL('../../../dist/cloud/consumer.js', import.meta.url).href
    const made = `import { defineConsumer } from '${other}'
const made = defineConsumer({ group: 'made', events: { 'com.acme.climate': 2 }, timeout: '7s', handle() {} })`
    const load = async (name: string, exported: string): Promise<ConfiguredConsumer> => {
      const module = file(name, `${made}\nexport const its = made.handler\nexport default ${exported}`)
      const [loaded] = await loadConsumers({ consumers: [{ module }], defaults })
      return loaded as ConfiguredConsumer
    }
    const wrapped = "{ ...made, handler: { kind: 'single', handle: () => 'traced' } }"
    const plain = await load('made.mjs', 'made')
    expect(plain).toMatchObject({ group: 'made', timeoutMs: 7_000 })
    const { its } = (await import(join(folder, 'made.mjs'))) as { its: unknown }
    expect(plain.handler).not.toBe(its)
    for (const [name, exported] of [
      ['wrapped.mjs', wrapped],
      ['assigned.mjs', `Object.assign(made, ${wrapped})`],
    ] as const) {
      const found = await load(name, exported)
      expect(found.handler.kind === 'single' && found.handler.handle({} as never, {} as never)).toBe('traced')
      expect(found.wantedVersion('com.acme.climate')).toBe(2)
    }
  })

  test('cannot have the group of what was built in: its queues are let go', async () => {
    const module = file('rollups.mjs', `export default { group: 'rollups', types: ['#'], handle() {} }`)
    await expect(loadConsumers({ consumers: [{ module }], defaults })).rejects.toMatchObject({
      code: 'CONSUMER_INVALID',
      message: expect.stringContaining('a group cannot be called rollups') as string,
    })
  })

  test.each([
    ['missing', undefined, 'CONSUMER_MODULE'],
    ['syntax', 'export default {', 'CONSUMER_MODULE'],
    ['nothing', 'export const a = 1', 'CONSUMER_MODULE'],
    [
      'faulty',
      `export default { group: 'No', types: ['a..b'], timeout: 'long', handle() {} }`,
      'CONSUMER_INVALID',
    ],
  ])('that cannot be used are one clear error (%s)', async (name, text, code) => {
    const module = text === undefined ? join(folder, 'missing.mjs') : file(`${name}.mjs`, text)
    await expect(loadConsumers({ consumers: [{ module }], defaults })).rejects.toMatchObject({ code })
  })

  const typed = `import { defineConsumer } from 'tidegate/consumer'
const group: string = 'typed'
export default defineConsumer({ group, types: ['#'], handle() {} })`
  // What Node can is known by what it says of itself.
  const stripsTypes = 'typescript' in process.features && process.features.typescript !== false

  test('in TypeScript are read where Node takes types away, and else it is said what to do', () => {
    file('typed.ts', typed)
    const config = file('typed.yaml', 'consumers: [history, { module: typed.ts }]\n')
    const program = join(process.cwd(), 'dist/cli/tidegate.js')
    const { stdout } = spawnSync(process.execPath, [program, 'cloud', '--config', config, '--check'], {
      encoding: 'utf8',
    })
    expect(stdout).toMatch(
      stripsTypes
        ? /ok +consumers +history, typed/
        : /FAULT consumers .*does not read TypeScript[\s\S]*22\.18 or later.*npx tsc/,
    )
  })
})

describe('modules of projections', () => {
  const options = `name: 'own', version: 2, events: ['com.acme.power'], apply() {}`

  test('may default-export plain options, with their SQL in a file beside them', async () => {
    file('own.sql', 'create table own (device text)')
    const module = file(
      'derived.mjs',
      `export default { ${options}, tables: new URL('./own.sql', import.meta.url) }`,
    )
    expect(await loadProjections([{ module }, 'latest'])).toMatchObject([
      { name: 'own', version: 2, tables: 'create table own (device text)' },
      { name: 'latest', version: 1 },
    ])
    await expect(loadProjections([{ module }, { module }])).rejects.toMatchObject({
      code: 'PROJECTION_INVALID',
      message: 'two modules are projection own 2',
    })
  })

  test.each([
    ['missing', undefined, 'PROJECTION_MODULE'],
    ['nothing', 'export const a = 1', 'PROJECTION_MODULE'],
    ['faulty', `export default { ${options}, table: 'x' }`, 'PROJECTION_INVALID'],
    [
      'without-its-file',
      `export default { ${options}, tables: new URL('./none.sql', import.meta.url) }`,
      'PROJECTION_INVALID',
    ],
  ])('that cannot be used are one clear error (%s)', async (name, text, code) => {
    const module = text === undefined ? join(folder, 'missing.mjs') : file(`derived-${name}.mjs`, text)
    await expect(loadProjections([{ module }])).rejects.toMatchObject({ code })
  })
})
