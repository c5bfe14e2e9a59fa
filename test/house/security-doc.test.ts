import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { citationsIn, missing } from './citations.ts'
import { root } from './sources.ts'

const doc = readFileSync(join(root, 'docs/SECURITY.md'), 'utf8')
const rows = [...doc.matchAll(/^\| ([CHML]\d+) .*$/gm)].map(([line, finding = '']) => ({ line, finding }))
const cited = new Set(
  [...doc.matchAll(/\(([CHML]\d+(?:, [CHML]\d+)*)\)$/gm)].flatMap(([, list = '']) => list.split(', ')),
)
const numbered = (letter: string, count: number): string[] =>
  Array.from({ length: count }, (_, index) => `${letter}${index + 1}`)

/** What was done there is a process. */
const untested = ['M9']

describe('docs/SECURITY.md', () => {
  test('has a row for each finding of the review', () => {
    const all = [...numbered('C', 2), ...numbered('H', 7), ...numbered('M', 9), ...numbered('L', 13)]
    expect(rows.map(({ finding }) => finding)).toEqual(all)
  })

  test('names tests that are there, and one for each finding that is mended', () => {
    const citations = citationsIn('docs/SECURITY.md')
    expect(citations.length).toBeGreaterThan(20)
    expect(missing(citations)).toEqual([])
    const mended = rows.filter(({ line }) => !line.includes('**open**')).map(({ finding }) => finding)
    expect(mended.filter((finding) => !cited.has(finding) && !untested.includes(finding))).toEqual([])
  })
})
