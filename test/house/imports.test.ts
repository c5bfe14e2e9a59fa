import { readFileSync } from 'node:fs'
import { basename, join, posix } from 'node:path'
import { describe, expect, test } from 'vitest'
import { alone, filesMax, type Room, rooms, sides } from './rooms.ts'
import { root, sourcesIn, type Source as Text } from './sources.ts'

/** The compiler and the linter say most of this too; here it is in one place, and for every file at once. */

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

interface Source extends Text {
  /** What it imports, in whatever way. */
  specifiers: string[]
}

const product = Object.keys(sides).flatMap(importersIn)
const tests = ['test', 'bench'].flatMap(importersIn)

function importersIn(folder: string): Source[] {
  return sourcesIn(folder).map((source) => ({ ...source, specifiers: specifiersOf(source.text) }))
}

function specifiersOf(text: string): string[] {
  const statements =
    /^(?:import|export)\b[^'"`;]*?\bfrom\s+['"]([^'"]+)['"]|^import\s+['"]([^'"]+)['"]|\bimport\(\s*['"]([^'"]+)['"]/gm
  const matches = text.matchAll(statements)
  return [...matches].map(([, ...specifiers]) => specifiers.find((one) => one !== undefined) as string)
}

/** The files of ours that a file imports, from the root. */
function oursOf({ path, specifiers }: Source): string[] {
  return specifiers
    .filter((specifier) => specifier.startsWith('.'))
    .map((specifier) => posix.join(posix.dirname(path), specifier))
}

const sideOf = (path: string): string => path.split('/')[0] as string

/** Whether a room may import a file of another room on its own side. */
function allows({ mayImport }: Room, target: string): boolean {
  if (mayImport === 'its whole side') return true
  return mayImport.includes(posix.dirname(target)) || mayImport.includes(target)
}

/** Files that import each other in a circle, types included: each circle once, by Tarjan’s components (1972). */
function circlesOf(sources: readonly Source[]): string[][] {
  const imports = new Map(sources.map((source) => [source.path, oursOf(source)]))
  const order = new Map<string, number>()
  const lowest = new Map<string, number>()
  const open: string[] = []
  const circles: string[][] = []
  const visit = (path: string): number => {
    const index = order.size
    order.set(path, index)
    lowest.set(path, index)
    open.push(path)
    for (const next of imports.get(path) ?? []) {
      if (!imports.has(next)) continue
      const reached = order.has(next)
        ? open.includes(next)
          ? (order.get(next) as number)
          : index
        : visit(next)
      lowest.set(path, Math.min(lowest.get(path) as number, reached))
    }
    if (lowest.get(path) === index) {
      const circle = open.splice(open.indexOf(path))
      if (circle.length > 1 || imports.get(path)?.includes(path)) circles.push(circle)
    }
    return lowest.get(path) as number
  }
  for (const path of imports.keys()) if (!order.has(path)) visit(path)
  return circles
}

/** `@scope/name/file` → `@scope/name` */
function packageOf(specifier: string): string {
  return specifier
    .split('/')
    .slice(0, specifier.startsWith('@') ? 2 : 1)
    .join('/')
}

/** What stands between `<!-- name -->` and the next comment that ends it. */
function between(text: string, name: string): string | undefined {
  return text.split(`<!-- ${name} -->\n\n`)[1]?.split('\n\n<!-- end -->')[0]
}

/** The rooms with their sentences, as `docs/ARCHITECTURE.md` shows them. */
function listing(): string {
  return Object.entries(rooms)
    .map(([path, { sentence }]) => `- \`${path}/\`: ${sentence}`)
    .join('\n')
}

/** The imports among the rooms of a side, drawn by Mermaid; those of whoever wires are left out. */
function picture(side: string): string {
  const arrows = product
    .filter(
      ({ path }) => path.startsWith(`${side}/`) && rooms[posix.dirname(path)]?.mayImport !== 'its whole side',
    )
    .flatMap((source) =>
      oursOf(source).map((target) => [posix.dirname(source.path), posix.dirname(target)] as const),
    )
    .filter(([from, to]) => from !== to && to.startsWith(`${side}/`))
    .map(([from, to]) => `  ${from.slice(side.length + 1)} --> ${to.slice(side.length + 1)}`)
  return ['```mermaid', 'flowchart TD', ...[...new Set(arrows)].toSorted(), '```'].join('\n')
}

function findings(sources: readonly Source[], find: (source: Source) => readonly string[]): string[] {
  return sources.flatMap((source) => find(source).map((finding) => `${source.path}: ${finding}`))
}

function linesWith(pattern: RegExp): (source: Source) => string[] {
  return ({ text }) => text.split('\n').filter((line) => pattern.test(line))
}

const source = (path: string, ...specifiers: string[]): Source => ({ path, text: '', specifiers })

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
      const home = sideOf(source.path)
      return oursOf(source).filter((target) => {
        const side = sideOf(target)
        return side !== home && !sides[home]?.includes(side) && target !== 'package.json'
      })
    })
    expect(strays).toEqual([])
  })

  test('a room imports what lies below it and nothing else', () => {
    const strays = findings(product, (source) => {
      const home = posix.dirname(source.path)
      const room = rooms[home] as Room
      return oursOf(source).filter(
        (target) =>
          sideOf(target) === sideOf(home) && posix.dirname(target) !== home && !allows(room, target),
      )
    })
    expect(strays).toEqual([])
    const back = findings(product, (source) =>
      oursOf(source).filter((target) =>
        alone.some(
          ({ file, room }) =>
            posix.dirname(target) === room &&
            posix.dirname(source.path) === posix.dirname(file) &&
            source.path !== file,
        ),
      ),
    )
    expect(back).toEqual([])
  })

  test('no files import each other in a circle, types included', () => {
    expect(circlesOf([...product, ...tests])).toEqual([])
    const circle = [
      source('a.ts', './b.ts'),
      source('b.ts', './c.ts'),
      source('c.ts', './b.ts'),
      source('d.ts'),
    ]
    expect(circlesOf(circle)).toEqual([['b.ts', 'c.ts']])
  })

  test('every folder is a room with its sentence, and no room is empty or a hall', () => {
    const files = new Map<string, number>()
    for (const { path } of product) {
      const room = posix.dirname(path)
      files.set(room, (files.get(room) ?? 0) + 1)
    }
    expect([...files.keys()].toSorted()).toEqual(Object.keys(rooms).toSorted())
    const halls = [...files].filter(([, count]) => count > filesMax)
    expect(halls).toEqual([])
  })

  test('what a room may import, it does import', () => {
    const unused = Object.entries(rooms).flatMap(([path, { mayImport }]) => {
      if (mayImport === 'its whole side') return []
      const targets = product.filter((source) => posix.dirname(source.path) === path).flatMap(oursOf)
      const used = new Set(targets.flatMap((target) => [target, posix.dirname(target)]))
      return mayImport.filter((other) => !used.has(other)).map((other) => `${path} need not import ${other}`)
    })
    expect(unused).toEqual([])
  })

  test('the architecture lists the rooms and draws their imports as they are', () => {
    const architecture = readFileSync(join(root, 'docs/ARCHITECTURE.md'), 'utf8')
    expect(between(architecture, 'rooms')).toBe(listing())
    for (const side of ['edge', 'cloud', 'dev']) expect(between(architecture, side)).toBe(picture(side))
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
