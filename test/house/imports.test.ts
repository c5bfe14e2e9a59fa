import { readdirSync, readFileSync } from 'node:fs'
import { basename, dirname, join, relative, sep } from 'node:path'
import { describe, expect, test } from 'vitest'

/** The compiler and the linter say most of this too; here it is in one place, and for every file at once. */
const root = join(import.meta.dirname, '../..')

/** What each folder may import of ours, besides itself. */
const mayImport: Readonly<Record<string, readonly string[]>> = {
  src: [],
  edge: ['src'],
  cloud: ['src'],
  certs: ['src'],
  dev: ['src', 'certs'],
  cli: ['src', 'edge', 'cloud', 'certs', 'dev'],
}

/** The ending of a file's name that lets it import a driver. */
const adapterOf: Readonly<Record<string, string>> = {
  aedes: '-aedes.ts',
  'aedes-persistence-level': '-level.ts',
  level: '-level.ts',
  'classic-level': '-level.ts',
  'rabbitmq-client': '-rabbit.ts',
  pg: '-postgres.ts',
  mqtt: '-mqtt.ts',
}

/** Of the kernel one room alone knows a driver: what both sides need of RabbitMQ's client. */
const isKernel = (path: string): boolean => path.startsWith('src/') && !path.startsWith('src/amqp/')

const linesMax = 400

interface Source {
  /** From the root: `edge/outbox/writer/engine.ts`. */
  path: string
  text: string
  /** What it imports, in whatever way. */
  specifiers: string[]
}

const product = Object.keys(mayImport).flatMap(sourcesIn)
const tests = ['test', 'bench'].flatMap(sourcesIn)

function sourcesIn(folder: string): Source[] {
  return readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.ts'))
    .map((name) => {
      const path = `${folder}/${name.split(sep).join('/')}`
      const text = readFileSync(join(root, path), 'utf8')
      return { path, text, specifiers: specifiersOf(text) }
    })
}

function specifiersOf(text: string): string[] {
  const statements =
    /^(?:import|export)\b[^'"`;]*?\bfrom\s+['"]([^'"]+)['"]|^import\s+['"]([^'"]+)['"]|\bimport\(\s*['"]([^'"]+)['"]/gm
  const matches = text.matchAll(statements)
  return [...matches].map(([, ...specifiers]) => specifiers.find((one) => one !== undefined) as string)
}

/** The folder at the root that a relative import leads to; undefined for packages. */
function folderOf({ path }: Source, specifier: string): string | undefined {
  if (!specifier.startsWith('.')) return undefined
  return relative(root, join(root, dirname(path), specifier)).split(sep)[0]
}

/** `@scope/name/file` → `@scope/name` */
function packageOf(specifier: string): string {
  return specifier
    .split('/')
    .slice(0, specifier.startsWith('@') ? 2 : 1)
    .join('/')
}

function findings(sources: readonly Source[], find: (source: Source) => readonly string[]): string[] {
  return sources.flatMap((source) => find(source).map((finding) => `${source.path}: ${finding}`))
}

function linesWith(pattern: RegExp): (source: Source) => string[] {
  return ({ text }) => text.split('\n').filter((line) => pattern.test(line))
}

describe('a stranger finds things where the architecture says', () => {
  test('the rules below look at every file, and see imports of every kind', () => {
    expect(product.length).toBeGreaterThan(150)
    expect(product.flatMap(({ specifiers }) => specifiers).length).toBeGreaterThan(600)
    expect(specifiersOf(`import './a.ts'\nimport type {\n  B,\n} from './b.ts'\nexport * from "c"`)).toEqual([
      './a.ts',
      './b.ts',
      'c',
    ])
    expect(specifiersOf(`const d = await import('../d.ts')`)).toEqual(['../d.ts'])
  })

  test('edge and cloud never import each other, src imports nothing of ours, and nothing imports tests', () => {
    const strays = findings(product, (source) => {
      const home = source.path.split('/')[0] as string
      return source.specifiers.filter((specifier) => {
        const folder = folderOf(source, specifier)
        return folder !== undefined && folder !== home && !mayImport[home]?.includes(folder)
      })
    })
    expect(strays).toEqual([])
  })

  test('drivers are imported by the adapters that are named after them, and the kernel has none', () => {
    const strays = findings(product, ({ path, specifiers }) =>
      specifiers.filter((specifier) => {
        const suffix = adapterOf[packageOf(specifier)]
        return suffix !== undefined && (isKernel(path) || !basename(path).endsWith(suffix))
      }),
    )
    expect(strays).toEqual([])
  })

  test('imports of ours name the file, with its ending', () => {
    const strays = findings(product, ({ specifiers }) =>
      specifiers.filter((specifier) => specifier.startsWith('.') && !/\.(ts|json)$/.test(specifier)),
    )
    expect(strays).toEqual([])
  })
})

describe('the house is tidy', () => {
  test(`no file is longer than ${linesMax} lines`, () => {
    const long = findings(product, ({ text }) => {
      const lines = text.split('\n').length - 1
      return lines > linesMax ? [`${lines} lines`] : []
    })
    expect(long).toEqual([])
  })

  test('nothing is left to be done later', () => {
    expect(findings([...product, ...tests], linesWith(/\b(TO[D]O|FIX[M]E|XX[X]|HA[C]K)\b/))).toEqual([])
  })

  test('no test is left out, and none stands alone', () => {
    const leftOut =
      /\b(test|it|describe|suite)\.(only|skip|todo|fails|skipIf|runIf)\b|\bx(it|describe|test)\(/
    expect(findings(tests, linesWith(leftOut))).toEqual([])
  })

  test('no type is switched off', () => {
    expect(
      findings([...product, ...tests], linesWith(/\bas any\b|@ts-(ignore|nocheck|expect-error)/)),
    ).toEqual([])
  })
})
