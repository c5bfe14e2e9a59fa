import { spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { beforeEach, describe, expect, test } from 'vitest'
import { closureOf } from '../../../dev/packing/closure.ts'
import { makeConsumerPackage } from '../../../dev/packing/consumer-package.ts'
import { compiled } from '../../support/compiled-examples.ts'

const tool = join(process.cwd(), 'dist/cli/tidegate.js')
const schemas = join(process.cwd(), 'schemas')

let folder: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'tidegate-new-'))
})

function tidegate(...args: string[]): { status: number | null; stdout: string; stderr: string } {
  return spawnSync(process.execPath, [tool, ...args], { cwd: folder, encoding: 'utf8' })
}

const read = (name: string): string => readFileSync(join(folder, name), 'utf8')

describe('tidegate new consumer', () => {
  test('writes a module, its tables and its test, which compile with the types that tidegate schema types writes', () => {
    expect(tidegate('schema', 'types', '--folder', schemas)).toMatchObject({ status: 0 })
    const options = ['--schemas', schemas, '--type', 'com.acme.climate']
    expect(tidegate('new', 'consumer', 'hot-boilers', ...options, '--runner', 'vitest')).toMatchObject({
      status: 0,
    })
    expect(read('hot-boilers.ts')).toContain(`events: { 'com.acme.climate': 2 }`)
    expect(read('hot-boilers.sql')).toMatch(
      /create table consumer_hot_boilers\.hot_boilers[\s\S]*to tidegate_module;/,
    )
    const names = ['tidegate-events.d.ts', 'hot-boilers.ts', 'hot-boilers.test.ts', 'tsconfig.json']
    expect(compiled(Object.fromEntries(names.map((name) => [name, read(name)])))).toBe('')
    const own = read('tsconfig.json').replace('ES2022', 'ES2023')
    writeFileSync(join(folder, 'tsconfig.json'), own)
    const other = tidegate('new', 'consumer', 'other', ...options, '--runner', 'vitest')
    expect(other.stdout).toMatch(
      /pack:consumer[\s\S]*npm install --save-dev TARBALL @electric-sql\/pglite typescript/,
    )
    expect(read('tsconfig.json')).toBe(own)
    expect(tidegate('new', 'consumer', 'plain', ...options, '--js', '--in', 'there')).toMatchObject({
      status: 0,
    })
    expect(read('there/plain.test.js')).toMatch(/node:test[\s\S]*plain\.js/)
  }, 60_000)

  test('takes types where there is no schema, and overwrites nothing', () => {
    expect(tidegate('new', 'consumer', 'alerts', '--runner', 'vitest')).toMatchObject({ status: 0 })
    expect(read('alerts.ts')).toContain(`types: ['com.acme.climate']`)
    expect(tidegate('new', 'consumer', 'alerts', '--runner', 'vitest')).toMatchObject({
      status: 1,
      stderr: expect.stringMatching(/alerts\.ts, alerts\.sql, alerts\.test\.ts is there already/) as string,
    })
  })

  test('writes what this Node can run: no test in TypeScript for one that reads none, and says so', () => {
    const { stdout } = tidegate('new', 'consumer', 'alerts')
    const reads = 'typescript' in process.features && Boolean(process.features.typescript)
    const language = reads ? 'ts' : 'js'
    expect(read(`alerts.test.${language}`)).toContain('node:test')
    expect(existsSync(join(folder, `alerts.${language}`))).toBe(true)
    expect(stdout.includes('runs no test that is in TypeScript')).toBe(!reads)
    expect(stdout.includes('typescript @types/node')).toBe(reads)
  })

  test.each([
    [['Alerts'], /"Alerts" is no name of a group/],
    [
      ['alerts', '--schemas', schemas, '--type', 'com.acme.climat'],
      /has no schema of com\.acme\.climat; did you mean com\.acme\.climate\?/,
    ],
    [['alerts', '--type', 'climate'], /"climate" is no event type/],
  ])('refuses %j, and writes nothing', (args, says) => {
    expect(tidegate('new', 'consumer', ...args)).toMatchObject({
      status: 1,
      stderr: expect.stringMatching(says) as string,
    })
    expect(existsSync(join(folder, 'alerts.ts'))).toBe(false)
  })
})

test('types that are not what the schemas make of them are told by --check', () => {
  expect(tidegate('schema', 'types', '--folder', schemas, '--check')).toMatchObject({
    status: 1,
    stderr: expect.stringContaining('TYPES_OUTDATED') as string,
  })
  expect(tidegate('schema', 'types', '--folder', schemas)).toMatchObject({
    status: 0,
    stdout: expect.stringMatching(/10 types in 11 versions/) as string,
  })
  expect(tidegate('schema', 'types', '--folder', schemas, '--check')).toMatchObject({ status: 0 })
  expect(tidegate('schema', 'types', '--folder', schemas, '--out', 'not/there.d.ts')).toMatchObject({
    status: 1,
    stderr: expect.stringContaining('TYPES_UNWRITABLE') as string,
  })
})

describe('the package @tidegate/consumer', () => {
  test('has what it needs of the gateway, and neither its broker, its edge nor its log', () => {
    const { packages, files } = makeConsumerPackage(process.cwd(), folder)
    expect(packages).toEqual(['ajv', 'ajv-formats', 'cockatiel', 'commander', 'pg', 'ulid', 'yaml', 'zod'])
    expect(files.filter((file) => /^edge\/|-rabbit\.js$/.test(file))).toEqual([])
    expect(
      spawnSync(process.execPath, ['cli/tidegate.js', 'edge'], { cwd: folder, encoding: 'utf8' }).stderr,
    ).not.toBe('')
  })

  test('has declarations that need no package, and name no source', () => {
    makeConsumerPackage(process.cwd(), folder)
    const entries = ['cloud/consumer', 'cloud/testing/testing'].map((entry) => `${entry}.d.ts`)
    const { packages, files } = closureOf(folder, entries, {
      fileOf: (path) => path.replace(/\.js$/, '.d.ts'),
    })
    expect(packages).toEqual([])
    expect(files.length).toBeGreaterThan(15)
  })
})
