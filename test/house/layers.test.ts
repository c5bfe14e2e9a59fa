import { readFileSync } from 'node:fs'
import { dirname, join, relative, sep } from 'node:path'
import { describe, expect, test } from 'vitest'
import { root, sourcesIn, valueSpecifiersOf } from './sources.ts'

/** The folders of `test/` that hold tests, and what each may touch: docs/ARCHITECTURE.md. */
const layers = ['unit', 'contract', 'simulation', 'fault', 'e2e', 'house']

/** What opens a folder, a socket, a process or a thread, and what speaks to a server or to a store. */
const openers = [
  /^(node:)?(fs|net|http|https|http2|tls|dgram|child_process|cluster|worker_threads)(\/|$)/,
  /^(aedes|aedes-persistence-level|level|classic-level|rabbitmq-client|pg|mqtt)(\/|$)/,
]

const tests = sourcesIn('test').filter(({ path }) => path.endsWith('.test.ts'))

const textOf = (file: string): string => (file.endsWith('.ts') ? readFileSync(join(root, file), 'utf8') : '')

/** What opens something in a file by its own hand. */
function opensItself(file: string): string[] {
  const text = textOf(file)
  const opening = valueSpecifiersOf(text).filter((specifier) =>
    openers.some((opener) => opener.test(specifier)),
  )
  return [...opening, ...(/\bfetch\(/.test(text) ? ['fetch'] : [])].map((what) => `${file}: ${what}`)
}

/**
 * What a test opens: what it imports, what the files of `test/` that it imports import, at whatever remove, and what
 * the files of the product import that any of these call. A unit may well call a part that opens nothing itself, but is
 * given what does.
 */
function opens(file: string, seen = new Set<string>()): string[] {
  if (seen.has(file)) return []
  seen.add(file)
  const ours = valueSpecifiersOf(textOf(file))
    .filter((specifier) => specifier.startsWith('.'))
    .map((specifier) =>
      relative(root, join(root, dirname(file), specifier))
        .split(sep)
        .join('/'),
    )
  return [
    ...opensItself(file),
    ...ours.flatMap((one) => (one.startsWith('test/') ? opens(one, seen) : opensItself(one))),
  ]
}

describe('a test is in the layer of what it touches', () => {
  test('every test is in a layer', () => {
    expect(tests.length).toBeGreaterThan(100)
    const stray = tests.filter(({ path }) => !layers.includes(path.split('/')[1] ?? ''))
    expect(stray.map(({ path }) => path)).toEqual([])
  })

  test('what is opened is seen, through helpers and through the product, and types open nothing', () => {
    const opened = opens('test/contract/edge/broker.test.ts')
    expect(opened).toContain('test/support/edge/test-broker.ts: node:fs')
    expect(opened).toContain('edge/mqtt/broker-aedes.ts: aedes')
    expect(opens('test/contract/src/ops-server.test.ts')).toContain(
      'test/contract/src/ops-server.test.ts: fetch',
    )
    const types = `import type { Client } from 'pg'\nimport { type A, type B } from 'node:fs'`
    expect(valueSpecifiersOf(types)).toEqual([])
    expect(valueSpecifiersOf(`import { type A, b } from 'node:fs'`)).toEqual(['node:fs'])
  })

  test('a unit opens no folder, socket, process or thread, and has no driver', () => {
    const units = tests.filter(({ path }) => path.startsWith('test/unit/'))
    expect(units.length).toBeGreaterThan(40)
    expect(units.flatMap(({ path }) => opens(path).map((what) => `${path} opens ${what}`))).toEqual([])
  })
})

test('tests speak one dialect: test, not it', () => {
  const strays = tests.filter(({ text }) => /^import \{[^}]*\bit\b[^}]*\} from 'vitest'/m.test(text))
  expect(strays.map(({ path }) => path)).toEqual([])
})
