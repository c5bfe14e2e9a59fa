import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'

const root = join(import.meta.dirname, '../..')
const doc = readFileSync(join(root, 'docs/GUARANTEES.md'), 'utf8')
const sections = doc.split(/^## /m).slice(1)

/** A test file and the names of its tests that a line quotes. */
const citations = [...doc.matchAll(/^- `(test\/[^`]+\.test\.ts)`: (.+)$/gm)].map(
  ([, file = '', names = '']) => ({
    file,
    names: [...names.matchAll(/"([^"]+)"/g)].map(([, name]) => name as string),
  }),
)

describe('docs/GUARANTEES.md', () => {
  test('has each guarantee with its promise, how it is kept, its tests and where it ends', () => {
    expect(sections.map((section) => section.slice(0, 2))).toEqual('G1 G2 G3 G4 G5 G6 G7 G8'.split(' '))
    for (const section of sections)
      for (const part of ['**Promise.**', '**How.**', '**Tests.**', '**Where it ends.**'])
        expect(section).toContain(part)
  })

  test('names tests that are there', () => {
    expect(citations.length).toBeGreaterThan(30)
    const missing = citations.flatMap(({ file, names }) => {
      const text = existsSync(join(root, file)) ? readFileSync(join(root, file), 'utf8') : ''
      return names.filter((name) => !text.includes(name)).map((name) => `${file}: ${name}`)
    })
    expect(missing).toEqual([])
  })

  test('names files that are there', () => {
    const files = [...doc.matchAll(/\]\((\.\.\/[^)]+)\)/g)].map(([, file]) => file as string)
    expect(files.length).toBeGreaterThan(25)
    expect(files.filter((file) => !existsSync(join(root, 'docs', file)))).toEqual([])
  })
})
