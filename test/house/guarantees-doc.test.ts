import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { citationsIn, missing, titles, unnumbered } from './citations.ts'
import { root } from './sources.ts'
import { numbersIn } from './titles.ts'

const doc = readFileSync(join(root, 'docs/GUARANTEES.md'), 'utf8')
const design = readFileSync(join(root, 'edge/outbox/DESIGN.md'), 'utf8')
const sections = doc.split(/^## /m).slice(1)
const guarantees = sections.map((section) => section.slice(0, 2))
const invariants = [...design.matchAll(/^- \*\*(I\d)\*\*/gm)].map(([, number = '']) => number)
const citations = [...citationsIn('docs/GUARANTEES.md'), ...citationsIn('edge/outbox/DESIGN.md')]

describe('docs/GUARANTEES.md', () => {
  test('has each guarantee with its promise, how it is kept, its tests and where it ends', () => {
    expect(guarantees).toEqual('G1 G2 G3 G4 G5 G6 G7 G8 G9'.split(' '))
    for (const section of sections)
      for (const part of ['**Promise.**', '**How.**', '**Tests.**', '**Where it ends.**'])
        expect(section).toContain(part)
  })

  test('names files that are there', () => {
    const files = [...doc.matchAll(/\]\((\.\.\/[^)]+)\)/g)].map(([, file]) => file as string)
    expect(files.length).toBeGreaterThan(25)
    expect(files.filter((file) => !existsSync(join(root, 'docs', file)))).toEqual([])
  })
})

describe('the tests of guarantees and of the outbox’s invariants', () => {
  test('are there under the very names by which they are cited', () => {
    expect(citations.length).toBeGreaterThan(130)
    expect(missing(citations)).toEqual([])
  })

  test('carry the number for which they are cited', () => {
    expect(unnumbered(citations)).toEqual([])
  })

  test('are cited, each for every number that it carries', () => {
    // A belief of docs/FOUNDATIONS.md names its tests there, whatever rests on it.
    const elsewhere = citationsIn('docs/FOUNDATIONS.md').map(({ file, title }) => `${file}: ${title}`)
    const uncited = titles.flatMap(({ file, title }) =>
      numbersIn(title)
        .filter(
          (number) =>
            !citations.some((one) => one.under === number && one.file === file && one.title === title),
        )
        .filter(() => !elsewhere.includes(`${file}: ${title}`))
        .map((number) => `${number}: ${file}: ${title}`),
    )
    expect(uncited).toEqual([])
  })

  test('are there for each number, and for no other', () => {
    expect(invariants).toEqual('I1 I2 I3 I4 I5 I6 I7 I8 I9'.split(' '))
    const numbers = [...guarantees, ...invariants].toSorted()
    expect([...new Set(citations.map(({ under }) => under))].toSorted()).toEqual(numbers)
    expect([...new Set(titles.flatMap(({ title }) => numbersIn(title)))].toSorted()).toEqual(numbers)
  })
})
